"""Checksums of a file's blocks, with which a reader verifies any part of the file without reading the rest."""

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clipes.tasks.storage.checksums.seals import FAILS_CHECKSUM
from clipes_core.errors import BrokenArtifactError

BLOCK = 1 << 16  # [bytes]
DIGEST = 8  # bytes per block
CHECKED_AT_ONCE = 16 * BLOCK  # [bytes]


@dataclass(frozen=True)
class Blocks:
    """The checksums of the blocks of BLOCK bytes from the start of a file. The last block may be shorter.

    Attributes:
        length: number of bytes that the blocks cover.
        digests: checksums of the blocks, DIGEST bytes each.
    """

    length: int
    digests: bytes

    @classmethod
    def of_file(cls, path: Path) -> "Blocks":
        """Compute the checksums of a whole local file."""
        with path.open("rb") as file:
            digests = b"".join(_digest(block) for block in iter(lambda: file.read(BLOCK), b""))
            return cls(file.tell(), digests)

    @classmethod
    def parse(cls, text: str) -> "Blocks":
        """Parse the result of `str(blocks)`.

        Raises:
            ValueError: the text is not such a result.
        """
        length, digests = text.split(" ")
        blocks = cls(int(length), base64.b64decode(digests, validate=True))
        if len(blocks.digests) != DIGEST * -(-blocks.length // BLOCK):
            raise ValueError(f"{len(blocks.digests)} bytes of checksums do not match {length} bytes")
        return blocks

    def __str__(self) -> str:
        return f"{self.length} {base64.b64encode(self.digests).decode()}"

    def around(self, start: int, end: int) -> tuple[int, int]:
        """Return the smallest range of whole blocks [start, end) that contains a range of bytes."""
        return start // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, self.length)

    def check(self, uri: str, span: tuple[int, int], data: bytes) -> None:
        """Check a range of whole blocks.

        Args:
            uri: URI of the file, for the error message.
            span: the range [start, end) in the file [bytes], as `around` returns it.
            data: content of the range.

        Raises:
            BrokenArtifactError: the content differs from the checksums, or is too short.
        """
        start, end = span
        stated = self.digests[start // BLOCK * DIGEST : -(-end // BLOCK) * DIGEST]
        found = b"".join(_digest(data[offset : offset + BLOCK]) for offset in range(0, len(data), BLOCK))
        if len(data) != end - start or found != stated:
            raise BrokenArtifactError(uri, FAILS_CHECKSUM)


class CheckedFile(io.RawIOBase):
    """Reads a file with `Blocks`, and checks every block from which it returns bytes.

    Args:
        uri: URI of the file, for error messages.
        file: the opened file.
        blocks: checksums of the start of the file. Bytes after the last block cannot be read.
    """

    def __init__(self, uri: str, file: BinaryIO, blocks: Blocks) -> None:
        super().__init__()
        self._uri, self._file, self._blocks = uri, file, blocks
        self._position = 0
        self._start, self._data = 0, b""  # the last range read: neighbouring reads share a block

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position [bytes]."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it; the end is the end of the blocks."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._blocks.length}
        self._position = origins[whence] + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes; by default, read up to the end of the blocks.

        Raises:
            BrokenArtifactError: a block differs from its checksum, or the file is too short.
        """
        left = max(0, self._blocks.length - self._position)
        end = self._position + (left if size is None or size < 0 else min(size, left))
        self._load(self._position, end)
        part = self._data[self._position - self._start : end - self._start]
        self._position = end
        return part

    def check_all(self) -> None:
        """Read and check every block.

        Raises:
            BrokenArtifactError: a block differs from its checksum, or the file is too short.
        """
        for start in range(0, self._blocks.length, CHECKED_AT_ONCE):
            self._load(start, min(start + CHECKED_AT_ONCE, self._blocks.length))

    def _load(self, start: int, end: int) -> None:
        if self._start <= start and end <= self._start + len(self._data):
            return
        start, end = self._blocks.around(start, end)
        self._file.seek(start)
        data = self._file.read(end - start)
        self._blocks.check(self._uri, (start, end), data)
        self._start, self._data = start, data


def _digest(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=DIGEST).digest()
