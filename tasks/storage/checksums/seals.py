"""Seals: a sealed file contains the SHA-256 of its own bytes, so clipes notices if any of them changes.

A seal is the text `clipes-sha256:` and 64 hexadecimal digits. While the SHA-256 is computed, the digits count as zeros.
The seal is in a part of the file that may contain any text, such as a comment, so other programs can read the file.
"""

import hashlib
import mmap
from pathlib import Path

from clipes_core.errors import BrokenArtifactError

MARK = b"clipes-sha256:"
DIGITS = 64
FAILS_CHECKSUM = "cannot be read (it fails its checksum)"
BLANK_SEAL = f"{MARK.decode()}{'0' * DIGITS}"  # write this text to a file, then seal the file


def add_seal(content: bytes) -> bytes:
    """Return content with its blank seal filled in.

    Args:
        content: content of a file, which contains BLANK_SEAL. If it contains several seals, the last one counts.

    Raises:
        ValueError: the content has no seal.
    """
    start = _digits_start(content)
    return content[:start] + _digest(content, start) + content[start + DIGITS :]


def seal_file(path: Path, start: int = 0) -> None:
    """Fill in the blank seal of a local file.

    Args:
        path: path of the file.
        start: position of the first byte that the seal covers; other checksums cover the bytes before it.

    Raises:
        ValueError: the file has no seal.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:  # the file may be larger than the memory
        digits = _digits_start(content)
        content[digits : digits + DIGITS] = _digest(content, digits, start)


def check_sealed_file(path: Path, uri: str = "") -> str | None:
    """Check the seal of a local file, however large the file is. It must not be empty.

    Args:
        path: path of the file.
        uri: URI of the file for the error message, if the file is a copy.

    Returns:
        The seal, as `check_seal` does.

    Raises:
        BrokenArtifactError: the content has changed since it was sealed.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return check_seal(uri or str(path), content)


def check_seal(uri: str, content: bytes | mmap.mmap) -> str | None:
    """Check the seal of a file.

    Args:
        uri: URI of the file, for the error message.
        content: content of the file.

    Returns:
        The seal. None if the file has no seal: earlier versions of clipes did not seal their files.

    Raises:
        BrokenArtifactError: the content has changed since it was sealed.
    """
    try:
        start = _digits_start(content)
    except ValueError:
        return None
    digits = _digest(content, start)
    if content[start : start + DIGITS] != digits:
        raise BrokenArtifactError(uri, FAILS_CHECKSUM)
    return (MARK + digits).decode()


def _digits_start(content: bytes | mmap.mmap) -> int:
    """Return the position of the digits of the last seal."""
    found = content.rfind(MARK)
    if found < 0 or found + len(MARK) + DIGITS > len(content):
        raise ValueError("the content has no seal")
    return found + len(MARK)


def _digest(content: bytes | mmap.mmap, digits: int, start: int = 0) -> bytes:
    """Return the digits of a seal that covers the content from `start` on, and whose digits are at `digits`."""
    with memoryview(content) as view, view[start:digits] as before, view[digits + DIGITS :] as after:
        digest = hashlib.sha256(before)
        digest.update(b"0" * DIGITS)
        digest.update(after)
    return digest.hexdigest().encode()
