"""Write the files of a command into a folder of the user, and never replace a file that clipes did not write there.

clipes recognises its own PNG and JPEG files by their mark. Files of other formats can be recognised by a list of the
digests of what clipes wrote.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clipes.tasks.commands.digest_list import DigestList
from clipes.tasks.commands.file_marks import add_mark, has_mark
from clipes.tasks.storage.files import remove
from clipes.tasks.storage.filesystem import filesystem, is_local
from clipes.tasks.storage.user_files import (
    absolute,
    canonical,
    create_bytes,
    find_files,
    join,
    read_bytes,
    sha256_of,
    write_bytes,
    written_in_pieces,
)
from clipes_core.errors import DatasetError, StorageError, TransientError, UsageError

MARKED_SUFFIXES = (".png", ".jpg")
SHOWN = 3  # files that an error message names
BATCH_FILES, BATCH_BYTES = 64, 8 << 20  # files whose digests are announced together, and the size of their content


class ExistingFiles:
    """Decides which existing files of a folder may be replaced.

    Args:
        folder: URI of the folder.
        inputs: function that yields the URIs of files that must never be replaced.
        digests: files that clipes wrote earlier; None if this is not known.

    Attributes:
        free: names in an object store that were found unused.
        written: identity of each file that was written -> its name.
    """

    def __init__(self, folder: str, inputs: Callable[[], Iterable[str]], digests: DigestList | None) -> None:
        self._folder, self._inputs, self._digests = folder, inputs, digests
        self._input_files: set[object] | None = None
        self.free = set[str]()
        self.written: dict[object, str] = {}

    def why_kept(self, name: str, digest: str | None) -> str | None:
        """Return why a file must be kept; None if it does not exist or can be replaced.

        Args:
            name: path of the file, relative to the folder.
            digest: SHA-256 of the new content; None if it is not known yet.
        """
        uri = join(self._folder, name)
        identity = None if name in self.free else _identity(uri)
        if identity is None:
            return None
        other = self.written.get(identity, name)
        if other != name:
            return f"{uri} is the same file as {join(self._folder, other)} on this disk"
        try:
            existing = sha256_of(uri)
            listed = self._digests is not None and self._digests.lists(name, existing)
            own = listed or existing == digest or (name.endswith(MARKED_SUFFIXES) and has_mark(read_bytes(uri)))
        except FileNotFoundError:
            return f"{uri} is a folder or a broken link" if is_local(filesystem(uri)[0]) else None
        if identity in self._identities_of_inputs():
            return f"{uri} is one of the photos or true masks"
        if not own:
            return f"{uri} exists and has no valid mark of clipes: clipes did not write it, or it was changed since"
        return None

    def find_same_files(self, names: Sequence[str]) -> Iterator[str]:
        """Yield a reason for each existing file that two of the names lead to."""
        first: dict[object, str] = {}
        for name in names:
            identity = None if name in self.free else _identity(join(self._folder, name))
            if identity is not None and first.setdefault(identity, name) != name:
                other = join(self._folder, first[identity])
                yield f"{join(self._folder, name)} is the same file as {other} on this disk"

    def _identities_of_inputs(self) -> set[object]:
        if self._input_files is None:
            self._input_files = {_identity(uri) for uri in self._inputs()}
        return self._input_files


class OutputFolder:
    """Writes files below a folder. An existing file is replaced only if clipes wrote it and nobody changed it since.

    Args:
        to: folder, as a path or URI; it is created with the first file.
        inputs: function that yields the URIs of files that must never be replaced, even if clipes wrote them. It is
            called only if one of the files to write already exists.
        marker: name of the file whose existence means that the folder is complete. It is removed before any other file
            is written, and the digests of all files are listed in SHA256SUMS. None if there is no such file. With a
            marker, write files only in a block of `digests_saved`: some are collected until a batch of them is written.

    Raises:
        UsageError: there is a marker, and the folder has a SHA256SUMS that clipes did not write.
    """

    def __init__(self, to: str, inputs: Callable[[], Iterable[str]] = tuple, marker: str | None = None) -> None:
        self.uri = absolute(to)
        self.digests = None if marker is None else DigestList(self.uri)
        self._marker = marker
        self._existing = ExistingFiles(self.uri, inputs, self.digests)
        self._checked = set[str]()
        self._batch: list[tuple[str, bytes, str]] = []  # name, content and digest of the files that are not written yet

    def check(self, names: Iterable[str], complete: bool = False) -> None:
        """Check that none of the files would replace a file of the user. Call this before the first `write`.

        Args:
            names: paths of the files, relative to the folder.
            complete: whether these files, and those of earlier calls, are all that the folder will contain. If it has
                other files that clipes wrote earlier, they are refused, because programs would read both.

        Raises:
            UsageError: one of the files exists, and clipes did not write it, or it is an input; or files that clipes
                wrote earlier would stay.
            DatasetError: the folder or an existing file cannot be read.
            TransientError: the network or the server fails.
        """
        unchecked = list(names)
        if not is_local(filesystem(self.uri)[0]):  # one listing per folder instead of one request per file
            existing = find_files(join(self.uri, name) for name in unchecked)
            self._existing.free |= {name for name in unchecked if join(self.uri, name) not in existing}
        _refuse_repeated(self.uri, unchecked)
        reasons = [reason for name in unchecked if (reason := self._existing.why_kept(name, None))]
        reasons += self._existing.find_same_files(unchecked)
        if reasons:
            more = f" ({len(reasons) - SHOWN} more)" if len(reasons) > SHOWN else ""
            raise UsageError(f"--to: nothing was written: {'; '.join(reasons[:SHOWN])}{more}; name another folder")
        self._checked.update(unchecked)
        if complete and self.digests is not None:
            _refuse_others(self.uri, self.digests.find_others(self._checked))

    def write(self, name: str, data: bytes, marked: bool = True) -> None:
        """Write a file whole or not at all, with the mark of clipes if its format can carry the mark.

        Args:
            name: path of the file, relative to the folder.
            data: content of the file.
            marked: if False, write the content as it is, without a mark.

        Raises:
            UsageError: the file exists, and clipes did not write it, it is an input, or this object has written it
                under another name, because the disk does not distinguish upper and lower case.
            DatasetError: the file cannot be written.
            StorageError: the disk is full.
            TransientError: the network or the server fails.
        """
        content = add_mark(data) if marked else data
        with _state_written(self.uri, self._existing.written):
            self._begin()
            self._batch.append((name, content, hashlib.sha256(content).hexdigest()))
            size = sum(len(content) for _, content, _ in self._batch)
            if self.digests is None or len(self._batch) >= BATCH_FILES or size >= BATCH_BYTES:
                self._write_batch()

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Yield a file to write in pieces. The file appears whole if the block ends without an error.

        Args:
            name: path of the file, relative to the folder.

        Raises:
            UsageError, StorageError, TransientError: in the cases in which `write` raises them.
        """
        uri = join(self.uri, name)
        self._begin()
        self._write_batch()
        with written_in_pieces(uri) as temporary:
            with temporary.open("wb") as file:
                yield file
            digest = sha256_of(str(temporary))
            _refuse(self._existing.why_kept(name, digest))
            if self.digests is not None:
                self.digests.announce([(name, digest)])
        self._note(name, digest)

    @contextmanager
    def digests_saved(self) -> Iterator[None]:
        """Write the last files and SHA256SUMS at the end of the block; SHA256SUMS also if the block fails."""
        try:
            yield
            with _state_written(self.uri, self._existing.written):
                self._write_batch()
        finally:
            if self.digests is not None and self.digests.count:
                self.digests.save()

    def remove(self, name: str) -> None:
        """Remove a file that clipes wrote earlier.

        Raises:
            UsageError: clipes did not write the file, it was changed since, or it is an input.
            StorageError, TransientError: the file cannot be removed.
        """
        _refuse(self._existing.why_kept(name, None))
        remove(join(self.uri, name))
        if self.digests is not None:
            self.digests.forget(name)

    def _begin(self) -> None:
        """Remove the marker before the first file is written."""
        if self._marker is not None and not (self._existing.written or self._batch):
            remove(join(self.uri, self._marker))

    def _write_batch(self) -> None:
        """Write the collected files, after their digests have been announced."""
        batch, self._batch = self._batch, []
        if self.digests is not None and batch:
            self.digests.announce([(name, digest) for name, _, digest in batch])
        for name, content, digest in batch:
            uri = join(self.uri, name)
            if name not in self._existing.free:
                _refuse(self._existing.why_kept(name, digest))
                write_bytes(uri, content)
            elif not create_bytes(uri, content):
                _refuse(f"{uri} has just been written by another program")
            self._note(name, digest)

    def _note(self, name: str, digest: str) -> None:
        """Note that a file has been written."""
        self._existing.written[_identity(join(self.uri, name))] = name
        if self.digests is not None:
            self.digests.add(name, digest)


@contextmanager
def _state_written(folder: str, written: Sized) -> Iterator[None]:
    """Let an error of the block state how many files were written before."""
    try:
        yield
    except (UsageError, StorageError, TransientError) as exc:
        if not written:
            raise
        raise type(exc)(f"{exc} (files written to {folder} before: {len(written)})") from exc


def _refuse(reason: str | None) -> None:
    if reason:
        raise UsageError(f"--to: {reason}; name another folder")


def _refuse_repeated(folder: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        name = next(name for name, count in Counter(names).items() if count > 1)
        raise UsageError(f"--to: nothing was written: two different files would be {join(folder, name)}")


def _refuse_others(folder: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise UsageError(
            f"--to: nothing was written: {folder} has files of an earlier export that this export does not contain "
            f"({', '.join(names[:SHOWN])}{more}): delete them, or name another folder"
        )


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
