"""Read the small, neighbouring parts of a remote file in few large requests."""

import io
from typing import Any, BinaryIO

BLOCK = 4 << 20  # bytes of a large request
SMALLEST = 8 << 10  # bytes of any other request: enough for the headers of a photo and of small members next to it
NEAR = 1 << 19  # bytes that most stores send in less time than they need to answer another request


class ReadAhead(io.RawIOBase):
    """Reads a file in blocks of BLOCK bytes as long as its reader skips at most NEAR bytes at a time.

    A reader that moves further, or back, gets what it asks for with a small request. At most one block is kept.

    Args:
        file: the file, each read of which is a request. It must be seekable, and stays open.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._position = 0
        self._served: int | None = None  # end of the bytes that the reader got last
        self._start, self._block = 0, b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        if whence == io.SEEK_END:
            self._position = self._file.seek(offset, whence)
        else:
            self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the kept or the requested bytes reach; return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not self._start <= self._position < self._start + len(self._block):
            self._fetch(max(len(view), self._size()))
        first = self._position - self._start
        data = self._block[first : first + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        self._served = self._position
        return len(data)

    def _size(self) -> int:
        near = self._served is not None and 0 <= self._position - self._served <= NEAR
        return BLOCK if near else SMALLEST

    def _fetch(self, size: int) -> None:
        self._file.seek(self._position)
        self._start, self._block = self._position, self._file.read(size)
