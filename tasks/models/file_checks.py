"""Check weights files before they are read, so that no file executes code, fills the memory or stops the program.

A weights file may be damaged, or forged. It states the sizes of its parts itself, so these sizes are compared with the
size of the file before anything is read. Any error of the libraries that read the file becomes one error, which names
the file.
"""

import pickle
import pickletools
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clipes.tasks.storage.filesystem import first_line, printable
from clipes_core.errors import ClipesError, WeightsError

# Networks that share tensors under several names need more memory than their file.
MOST_GROWTH = 4
# Size of the pickle or header that describes the tensors. It is ample: a thousand tensors need about 0.2 MiB.
MOST_DESCRIPTION_BYTES = 32 << 20
FOLDER_MARK = 0x10  # in the attributes of an entry of a zip file
LENGTH_BYTES = 8  # a safetensors file starts with the length of its header


def damaged_file(path: Path, exc: BaseException) -> WeightsError:
    """Return the error for a weights file that is truncated or inconsistent."""
    return WeightsError(
        f"{path}: expected complete weights, found a damaged file ({first_line(exc)}); download it again"
    )


@contextmanager
def report_damage(path: Path) -> Iterator[None]:
    """Turn any error of the block, which reads a weights file, into the error that names the file.

    Raises:
        WeightsError: the block raised an error. Errors of clipes are not changed.
    """
    try:
        yield
    except ClipesError:
        raise
    except Exception as exc:  # on a damaged file, the libraries raise almost any type
        raise damaged_file(path, exc) from exc


def check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Check that the entries of an archive need little more memory than the archive, before any entry is read.

    The program of a TorchScript archive (the folder `code/`) is left out, because it is never read.

    Raises:
        WeightsError: the entries are compressed or overlap so that they need much more memory than the file.
    """
    entries = [entry for entry in archive.infolist() if entry.filename.split("/")[1:2] != ["code"]]
    _check_growth(path, sum(entry.file_size for entry in entries))
    for entry in entries:
        if entry.filename.endswith(".pkl"):
            _check_description(path, entry.file_size)


def check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Check that torch.load will read the same bytes from an archive as Python does, and that they are undamaged.

    torch.load ignores the checksums in an archive. If an entry is marked as a folder, or states that it has no bytes,
    torch.load returns random memory as the weights.

    Raises:
        WeightsError: an entry is not stored as torch.save stores it, or two entries have the same name.
        zipfile.BadZipFile: an entry fails its checksum.
    """
    names = Counter(entry.filename.lower() for entry in archive.infolist())
    for entry in archive.infolist():
        if not _is_plain(entry) or names[entry.filename.lower()] > 1:
            raise WeightsError(
                f"{path}: expected entries as torch.save stores them, found the entry {printable(entry.filename)!r}, "
                "which is compressed, damaged or repeated; download the file again, or save it again with torch.save"
            )
    if (name := archive.testzip()) is not None:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {name!r}")


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    uncompressed = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
    return uncompressed and not entry.is_dir() and not entry.external_attr & FOLDER_MARK


def check_header(path: Path) -> None:
    """Check the length of the header of a safetensors file, before the header is read.

    Raises:
        WeightsError: the header is too large.
    """
    with path.open("rb") as file:
        _check_description(path, int.from_bytes(file.read(LENGTH_BYTES), "little"))


def check_memo(data: bytes) -> None:
    """Check that a pickle does not make Python's unpickler allocate a huge table, by an index of a few bytes.

    Raises:
        ValueError: the pickle is damaged.
        pickle.UnpicklingError: an index is too large.
    """
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name.endswith("PUT") and int(argument or 0) > len(data):
            raise pickle.UnpicklingError(f"its memo has the index {argument}")


def check_needed_memory(path: Path, tensors: Iterable[torch.Tensor]) -> None:
    """Check that dense copies of tensors need little more memory than their file.

    Raises:
        WeightsError: they need much more, for example because one number stands for all elements of a large tensor.
    """
    _check_growth(path, sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _check_growth(path: Path, needed_bytes: int) -> None:
    size = path.stat().st_size
    if needed_bytes > MOST_GROWTH * size:
        raise WeightsError(
            f"{path}: expected weights that need about as much memory as the file has bytes ({size}), found weights "
            f"that need {needed_bytes} bytes; nothing was loaded. Download the weights from a source that you trust"
        )


def _check_description(path: Path, size_bytes: int) -> None:
    if size_bytes > MOST_DESCRIPTION_BYTES:
        raise WeightsError(
            f"{path}: expected a description of tensors of at most {MOST_DESCRIPTION_BYTES} bytes, found one of "
            f"{size_bytes} bytes; nothing was loaded. The file is damaged: download it again"
        )
