"""Checksums of a file's blocks, with which a reader verifies any part of the file without reading the rest."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from clipes.tasks.storage.checksums.seals import FAILS_CHECKSUM
from clipes_core.errors import BrokenArtifactError

BLOCK = 1 << 16  # [bytes]
DIGEST = 8  # bytes per block


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


def _digest(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=DIGEST).digest()
