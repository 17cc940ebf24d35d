"""Write the files of a command into a folder of the user, and never replace a file that clipes did not write there.

Each PNG and JPEG carries a mark, which is a text entry with the SHA-256 of the rest of the file. If anybody changes the
file, the mark no longer fits, and the file counts as the user's own.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from clipes.tasks.storage.filesystem import filesystem, is_local
from clipes.tasks.storage.user_files import (
    absolute,
    canonical,
    create_bytes,
    find_files,
    join,
    read_bytes,
    write_bytes,
)
from clipes_core.errors import DatasetError, StorageError, TransientError, UsageError

KEYWORD = b"clipes"
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", 12  # signature, and the length of the last chunk, IEND [bytes]
JPEG, JPEG_COMMENT = b"\xff\xd8\xff", b"\xff\xfe"
SHOWN = 3  # files that an error message names


class OutputFolder:
    """Writes files below a folder. An existing file is replaced only if clipes wrote it and nobody changed it since.

    Args:
        to: folder, as a path or URI; it is created with the first file.
        inputs: function that yields the URIs of files that must never be replaced, even if clipes wrote them. It is
            called only if one of the files to write already exists.
    """

    def __init__(self, to: str, inputs: Callable[[], Iterable[str]] = tuple) -> None:
        self.uri = absolute(to)
        self._inputs = inputs
        self._input_files: set[object] | None = None
        self._free = set[str]()  # names in an object store that `check` found unused
        self._written: dict[object, str] = {}

    def check(self, names: Iterable[str]) -> None:
        """Check that none of the files would replace a file of the user. Call this before the first `write`.

        Args:
            names: paths of the files, relative to the folder.

        Raises:
            UsageError: one of the files exists, and clipes did not write it, or it is an input.
            DatasetError: the folder or an existing file cannot be read.
            TransientError: the network or the server fails.
        """
        unchecked = list(names)
        if not is_local(filesystem(self.uri)[0]):  # one listing per folder instead of one request per file
            existing = find_files(join(self.uri, name) for name in unchecked)
            self._free = {name for name in unchecked if join(self.uri, name) not in existing}
        reasons = [reason for name in unchecked if (reason := self._why_kept(name, None))]
        reasons += self._find_same_files(unchecked)
        if reasons:
            more = f" ({len(reasons) - SHOWN} more)" if len(reasons) > SHOWN else ""
            raise UsageError(f"--to: nothing was written: {'; '.join(reasons[:SHOWN])}{more}; name another folder")

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, with the mark of clipes if its format can carry the mark.

        Args:
            name: path of the file, relative to the folder.
            data: content of the file.

        Raises:
            UsageError: the file exists, and clipes did not write it, it is an input, or this object has written it
                under another name, because the disk does not distinguish upper and lower case.
            DatasetError: the file cannot be written.
            StorageError: the disk is full.
            TransientError: the network or the server fails.
        """
        try:
            self._write(name, add_mark(data))
        except (UsageError, StorageError, TransientError) as exc:
            if not self._written:
                raise
            raise type(exc)(f"{exc} (files written to {self.uri} before: {len(self._written)})") from exc
        self._written[_identity(join(self.uri, name))] = name

    def _write(self, name: str, content: bytes) -> None:
        uri = join(self.uri, name)
        if name in self._free:
            reason = None if create_bytes(uri, content) else f"{uri} has just been written by another program"
        else:
            reason = self._why_kept(name, content)
            if reason is None:
                write_bytes(uri, content)
        if reason:
            raise UsageError(f"--to: {reason}; name another folder")

    def _why_kept(self, name: str, content: bytes | None) -> str | None:
        """Return why a file must be kept; None if it does not exist or can be replaced."""
        uri = join(self.uri, name)
        identity = None if name in self._free else _identity(uri)
        if identity is None:
            return None
        other = self._written.get(identity, name)
        if other != name:
            return f"{uri} is the same file as {join(self.uri, other)} on this disk"
        try:
            existing = read_bytes(uri)
        except FileNotFoundError:
            return f"{uri} is a folder or a broken link" if is_local(filesystem(uri)[0]) else None
        if identity in self._identities_of_inputs():
            return f"{uri} is one of the photos or true masks"
        if existing != content and not has_mark(existing):
            return f"{uri} exists and has no valid mark of clipes: clipes did not write it, or it was changed since"
        return None

    def _find_same_files(self, names: Sequence[str]) -> Iterator[str]:
        """Yield a reason for each existing file that two of the names lead to."""
        first: dict[object, str] = {}
        for name in names:
            identity = None if name in self._free else _identity(join(self.uri, name))
            if identity is not None and first.setdefault(identity, name) != name:
                yield f"{join(self.uri, name)} is the same file as {join(self.uri, first[identity])} on this disk"

    def _identities_of_inputs(self) -> set[object]:
        if self._input_files is None:
            self._input_files = {_identity(uri) for uri in self._inputs()}
        return self._input_files


def add_mark(data: bytes) -> bytes:
    """Return a PNG or JPEG with the mark of clipes; return any other content unchanged."""
    mark = _mark(data)
    place = _place_of_mark(data, len(data))
    return data if place is None else data[:place] + mark + data[place:]


def has_mark(data: bytes) -> bool:
    """Return whether clipes wrote a PNG or JPEG that has not changed since."""
    length = len(_mark(data))
    place = _place_of_mark(data, len(data) - length)
    return place is not None and add_mark(data[:place] + data[place + length :]) == data


def _mark(data: bytes) -> bytes:
    text = KEYWORD + b"\0" + hashlib.sha256(data).hexdigest().encode()
    if data.startswith(PNG):
        chunk = b"tEXt" + text
        return len(text).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return JPEG_COMMENT + (len(text) + 2).to_bytes(2, "big") + text


def _place_of_mark(data: bytes, plain_length: int) -> int | None:
    """Return where the mark is inserted: in a PNG before its last chunk, in a JPEG after its first segment.

    Args:
        data: content, with or without a mark.
        plain_length: length of the content without a mark.
    """
    if data.startswith(PNG):
        place = plain_length - PNG_END
    elif data.startswith(JPEG):
        place = 4 + int.from_bytes(data[4:6], "big")
    else:
        return None
    return place if 0 < place < plain_length else None


def _identity(uri: str) -> object | None:
    """Return what identifies a file, whatever path leads to it; None if the local disk has no such file.

    On the local disk, this is the device and the inode. The disk itself thus resolves links, letter case and Unicode
    forms. In an object store, it is the `canonical` URI, because all names are different files.
    """
    fs, path = filesystem(uri)
    if not is_local(fs):
        return canonical(uri)
    try:
        found = Path(path).stat() if Path(path).exists() else Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{uri} cannot be used ({exc}); repair it or choose another location") from exc
    return found.st_dev, found.st_ino
