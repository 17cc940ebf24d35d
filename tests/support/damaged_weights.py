"""Small weights files of every kind, and random damage to them."""

import io
import json
import pickletools
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

EXTREME_NUMBERS = (0, 1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
PROGRAM = b"cposix\nsystem\n(X\x09\x00\x00\x00touch rantR0"  # pickle opcodes that create the file `ran`
KINDS = ("zip", "pickle", "safetensors", "torchscript")


class Small(torch.nn.Module):
    """A module with parameters of two types, a buffer, a list and a child."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
        self.register_buffer("small", torch.tensor([[0.5, -0.25]]).half())
        self.sizes = [2, 3]
        self.child = torch.nn.Linear(3, 4)


def write_weights(path: Path, kind: str) -> dict[str, torch.Tensor]:
    """Write a small weights file, and return its tensors."""
    torch.manual_seed(0)
    module = Small()
    tensors = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    elif kind == "torchscript":
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            torch.jit.save(torch.jit.script(module), str(path))
    else:
        torch.save({"epoch": 3, "state_dict": tensors}, path, _use_new_zipfile_serialization=kind == "zip")
    return tensors


def flip(content: bytes, rng: random.Random) -> bytes:
    """Change one to four bits."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Remove the end, or a part from the middle."""
    start, end = sorted((rng.randrange(len(content)), rng.randrange(len(content))))
    return content[:start] + rng.choice((b"", content[end:]))


def repeat(content: bytes, rng: random.Random) -> bytes:
    """Copy a part to another place."""
    start, end = sorted((rng.randrange(len(content)), rng.randrange(len(content))))
    place = rng.randrange(len(content))
    return content[:place] + content[start:end] + content[place + rng.choice((0, end - start)) :]


def overwrite_number(content: bytes, rng: random.Random) -> bytes:
    """Overwrite two, four or eight bytes with an extreme number, as if they stated a length."""
    size = rng.choice((2, 4, 8))
    number = rng.choice(EXTREME_NUMBERS) % 2 ** (8 * size)
    place = rng.choice((0, rng.randrange(max(1, len(content) - size))))
    return content[:place] + number.to_bytes(size, "little") + content[place + size :]


def overwrite_directory(content: bytes, rng: random.Random) -> bytes:
    """Overwrite bytes in the directory of a zip file, or at the end of another file."""
    start = max(content.find(b"PK\x01\x02"), len(content) * 3 // 4 if b"PK\x01\x02" not in content else 0)
    return content[:start] + overwrite_number(content[start:], rng)


def change_entry(content: bytes, rng: random.Random) -> bytes:
    """Damage one entry of a zip file, with a valid checksum. Damage another file as `flip` does."""
    if not content.startswith(b"PK"):
        return flip(content, rng)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        entries = {name: old.read(name) for name in old.namelist()}
        chosen = rng.choice([name for name in entries if name.endswith("data.pkl") or "/data/" in name])
        entries[chosen] = rng.choice((flip, cut, overwrite_number, change_opcode, insert_program))(entries[chosen], rng)
    with zipfile.ZipFile(target, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as new:
        for name, data in entries.items():
            new.writestr(name, data)
    return target.getvalue()


def change_opcode(content: bytes, rng: random.Random) -> bytes:
    """Insert, replace or remove an opcode of the pickle in a file. Damage a file without a pickle as `flip` does."""
    places = _places_of_opcodes(content)
    if not places:
        return flip(content, rng)
    place = rng.choice(places)
    opcode = rng.choice(pickletools.opcodes).code.encode("latin-1")
    argument = rng.choice((b"", b"", b"\x01", rng.choice(EXTREME_NUMBERS).to_bytes(8, "little"), b"os\nsystem\n"))
    return content[:place] + opcode + argument + content[place + rng.choice((0, 1, 2)) :]


def insert_program(content: bytes, rng: random.Random) -> bytes:
    """Insert opcodes that run a program into the pickle in a file. Damage a file without a pickle as `flip` does."""
    places = _places_of_opcodes(content)
    if not places:
        return flip(content, rng)
    place = rng.choice(places)
    return content[:place] + PROGRAM + content[place:]


def _places_of_opcodes(content: bytes) -> list[int]:
    start = content.find(b"\x80\x02")
    try:
        return [start + place for _, _, place in pickletools.genops(content[start:])] if start >= 0 else []
    except ValueError:
        return []


def change_header(content: bytes, rng: random.Random) -> bytes:
    """Change one number of the header of a safetensors file. Damage another file as `change_entry` does."""
    if content[8:9] != b"{":
        return change_entry(content, rng)
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    values = entry[rng.choice(("shape", "data_offsets"))]
    values[rng.randrange(len(values))] = rng.choice((-1, 0, 7, 1.5, None, "3", *EXTREME_NUMBERS))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip,
    cut,
    repeat,
    overwrite_number,
    overwrite_directory,
    change_entry,
    change_opcode,
    insert_program,
    change_header,
)
