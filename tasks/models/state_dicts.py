"""Read the weights of a network from a file. Files of all supported formats give the same flat dict of tensors."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from clipes.tasks.models.file_checks import (
    check_archive,
    check_entries,
    check_header,
    check_needed_memory,
    damaged_file,
    report_damage,
)
from clipes.tasks.models.torchscript import is_torchscript, read_torchscript
from clipes.tasks.storage.checksums.seals import check_sealed_file
from clipes.tasks.storage.filesystem import printable
from clipes_core.errors import BrokenArtifactError, WeightsError
from clipes_core.finite import is_finite

ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"  # first byte of a file that torch.save wrote before torch 1.6
OPENAI_BUFFER = "input_resolution"  # a buffer in OpenAI's archives; OpenCLIP's networks do not have it


@dataclass(frozen=True)
class StateDict:
    """The weights of one network.

    Attributes:
        tensors: floating-point tensors by dotted name, on the CPU, with the file's dtypes; `logit_scale` and
            `logit_bias` are 0-d.
        openai: true if the content of the file shows that OpenAI made the file. OpenAI's networks use QuickGELU.
    """

    tensors: dict[str, torch.Tensor]
    openai: bool

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def read_state_dict(path: Path) -> StateDict:
    """Read the tensors of a weights file without executing anything in it.

    The file is a TorchScript archive, a safetensors file, or a checkpoint that torch.save wrote. The content of the
    file decides which of these formats is assumed. A checkpoint is a state dict, or a dict with a state dict under the
    key `state_dict`. If tensor names in a checkpoint start with `module.`, this prefix is removed.

    Args:
        path: path of a local file.

    Returns:
        The weights. Integer tensors (such as OpenAI's input_resolution) and attention masks are left out.

    Raises:
        WeightsError: the file is missing or damaged; or the file has no weights; or the file contains objects other
            than plain data and tensors; or the weights need much more memory than the file has bytes; or the file is a
            TorchScript archive of a network with GELU, which OpenAI's archives never have.
    """
    with report_damage(path):
        state = _read(path)
        check_needed_memory(path, state.tensors.values())
    try:
        check_sealed_file(path)
    except BrokenArtifactError as broken:  # a file that clipes wrote, such as best.pt
        raise WeightsError(f"{path}: {broken.reason}; use another file, or let clipes write it again") from broken
    return state


def _read(path: Path) -> StateDict:
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # before the others, because a safetensors file may start with any byte
        return _weights(_from_safetensors(path))
    if start.startswith(ZIP_START) and is_torchscript(path):
        return _from_torchscript(path)
    if start.startswith((ZIP_START, PICKLE_START)):
        return _weights(_from_checkpoint(path, zipped=start.startswith(ZIP_START)))
    if path.suffix == ".safetensors":
        return _weights(_from_safetensors(path))
    raise WeightsError(
        f"{path}: expected weights (a .safetensors file, a .pt file from OpenAI, or a file from torch.save), found "
        "another kind of file; use one of these three kinds"
    )


def _from_torchscript(path: Path) -> StateDict:
    archive = read_torchscript(path)
    if "GELU" in archive.classes:
        raise WeightsError(
            f"{path}: expected a TorchScript archive from OpenAI with QuickGELU, found an archive with GELU; "
            "load the model, save its state_dict() with torch.save, and set clip.model to the name of the network"
        )
    return StateDict(_weights(archive.tensors).tensors, openai=True)


def _from_checkpoint(path: Path, zipped: bool) -> dict[str, torch.Tensor]:
    if zipped:
        with zipfile.ZipFile(path) as archive:
            check_archive(path, archive)
            check_entries(path, archive)
    try:
        with path.open("rb") as file:  # not the path itself, because torch.load would interpret its suffix
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as exc:  # for a damaged pickle, torch may raise anything
        raise _describe_refusal(path, exc) from exc
    tensors = _named_tensors(content)
    if not tensors:
        raise WeightsError(
            f"{path}: expected a state dict, or a dict with a state dict under the key state_dict, found "
            f"{_summary(content)}; save the model's state_dict() with torch.save"
        )
    return tensors


def _from_safetensors(path: Path) -> dict[str, torch.Tensor]:
    check_header(path)
    return safetensors.torch.load_file(path)


def _named_tensors(content: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by name.

    OpenCLIP's training saves the tensors under the key `state_dict`, and each name with the prefix `module.`. The
    returned dict has neither this key nor this prefix.
    """
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        return {}
    return {
        name.removeprefix("module."): value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }


def _weights(tensors: dict[str, torch.Tensor]) -> StateDict:
    """Return the tensors that are weights. Scale and bias of the logits become 0-d, as in OpenAI's files."""
    weights = {
        name: tensor
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not name.endswith("attn_mask")
    }
    for name in ("logit_scale", "logit_bias"):
        if weights.get(name, torch.empty(0)).numel() == 1:
            weights[name] = weights[name].reshape(())
    return StateDict(weights, openai=OPENAI_BUFFER in tensors)


def check_weights(source: object, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that weights hold neither NaN nor infinity.

    Args:
        source: path or URI of the weights, for the message.
        tensors: the weights by name.

    Raises:
        WeightsError: a tensor contains NaN or infinity.
    """
    for name, tensor in tensors.items():
        if not is_finite(tensor.detach()):
            raise WeightsError(
                f"{source}: expected finite weights, found NaN or infinity in the tensor {name}; the file is damaged, "
                "or it comes from a training that diverged: use another file"
            )


def _describe_refusal(path: Path, exc: BaseException) -> WeightsError:
    """Return the error for a file that torch.load refuses. Leave out torch's advice to load the file unsafely."""
    imported = re.search(r"GLOBAL (\S+)", str(exc))
    opcode = re.search(r"Unsupported operand (\d+)", str(exc))  # opcode that torch.save does not write
    if not isinstance(exc, pickle.UnpicklingError) or not (imported or opcode):
        return damaged_file(path, exc)
    what = f"imports {imported[1]}" if imported else f"torch.save did not write (opcode {opcode and opcode[1]})"
    return WeightsError(
        f"{path}: expected tensors only, found a pickle that {printable(what)}; nothing in it was executed. "
        "Use a state dict or safetensors file from a source that you trust"
    )


def _summary(content: Any) -> str:
    if not isinstance(content, dict):
        return f"an object of type {type(content).__name__}"
    return f"a dict without tensors and with the keys {printable(', '.join(map(str, list(content)[:5])) or 'none')}"
