"""The SHA-256 of the files that clipes wrote to a folder, kept in a file that `sha256sum --check` reads."""

import re
import shutil
import tempfile
from collections.abc import Collection, Sequence
from typing import BinaryIO

from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.storage.checksums.seals import BLANK_SEAL, add_seal, check_seal, seal_file
from clipes.tasks.storage.files import remove, remove_empty_folders
from clipes.tasks.storage.layout import is_temporary
from clipes.tasks.storage.user_files import find_files, join, list_names, read_bytes, write_bytes, written_in_pieces
from clipes_core.errors import BrokenArtifactError, UsageError

FILE, PARTS = "SHA256SUMS", "SHA256SUMS.parts"
SEAL_LINE = f"# {BLANK_SEAL}\n".encode()  # sha256sum ignores lines that begin with #
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}  # as in coreutils; a line with an escape begins with a backslash


class DigestList:
    """The names and digests of the files that clipes wrote to a folder, now and earlier.

    Digests are announced before the files appear: they are written to numbered parts of the list, in the folder PARTS.
    So the files of a killed command are known too. `save` writes the whole list, and removes the parts. The lines of
    new files are collected on the local disk, so the needed memory does not depend on their number.

    Args:
        folder: URI of the folder.

    Attributes:
        earlier: name of each file that clipes wrote or announced earlier, and has not written again -> its possible
            digests. A file that a killed command was about to replace has two.
        count: number of files that were written.

    Raises:
        UsageError: the list or a part was not written by clipes, or was changed since.
        DatasetError: a file cannot be read.
        TransientError: the network or the server fails.
    """

    def __init__(self, folder: str) -> None:
        self._target, self.uri, self._folder = folder, join(folder, FILE), join(folder, PARTS)
        names = list_names(self._folder) or []
        parts = [join(self._folder, name) for name in names if name.isdecimal()]
        self._removable = [*parts, *(join(self._folder, name) for name in names if is_temporary(name))]
        self._next = max((int(name) for name in names if name.isdecimal()), default=0) + 1
        self.earlier: dict[str, tuple[str, ...]] = {}
        for entries in map_in_threads(_read, [self.uri, *parts]):
            self._expect(entries)
        self._lines: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # it is removed with this object
        self.count = 0

    def lists(self, name: str, digest: str) -> bool:
        """Return whether clipes wrote or announced a file with this name and this SHA-256."""
        return digest in self.earlier.get(name, ())

    def announce(self, entries: Sequence[tuple[str, str]]) -> None:
        """Note the names and digests of files that are about to be written, so that they are known after a kill.

        Raises:
            DatasetError: the part of the list cannot be written.
            StorageError: the disk is full.
            TransientError: the network or the server fails.
        """
        part = join(self._folder, f"{self._next:06d}")
        write_bytes(part, add_seal(b"".join(_line(name, digest) for name, digest in entries) + SEAL_LINE))
        self._removable.append(part)
        self._next += 1
        self._expect(entries)

    def add(self, name: str, digest: str) -> None:
        """Add a file that has just been written."""
        self.forget(name)
        self._lines.write(_line(name, digest))
        self.count += 1

    def forget(self, name: str) -> None:
        """Drop a file that clipes wrote earlier, and that no longer exists."""
        self.earlier.pop(name, None)

    def find_others(self, names: Collection[str]) -> list[str]:
        """Return the files that clipes wrote earlier and that have none of the names; forget those that are deleted.

        Raises:
            DatasetError: the folder cannot be read.
            TransientError: the network or the server fails.
        """
        uris = {name: join(self._target, name) for name in self.earlier if name not in names}
        existing = find_files(uris.values())
        for name in [name for name, uri in uris.items() if uri not in existing]:
            self.forget(name)
        return [name for name, uri in uris.items() if uri in existing]

    def save(self) -> None:
        """Write SHA256SUMS: the earlier files that were not written again, the new files, and a seal.

        Raises:
            StorageError: the file cannot be written.
            TransientError: the network or the server fails.
        """
        self._lines.seek(0)
        with written_in_pieces(self.uri) as path:
            with path.open("wb") as file:
                for name, digests in self.earlier.items():
                    file.writelines(_line(name, digest) for digest in digests)
                shutil.copyfileobj(self._lines, file)
                file.write(SEAL_LINE)
            seal_file(path)
        for uri in self._removable:
            remove(uri)
        remove_empty_folders(self._folder)

    def _expect(self, entries: Sequence[tuple[str, str]]) -> None:
        for name, digest in entries:
            self.earlier[name] = tuple(dict.fromkeys((*self.earlier.get(name, ()), digest)))


def _line(name: str, digest: str) -> bytes:
    escaped = "".join(ESCAPES.get(each, each) for each in name)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n".encode()


def _read(uri: str) -> list[tuple[str, str]]:
    """Return the names and digests in a list or a part of it; an empty list if it does not exist."""
    try:
        content = read_bytes(uri)
    except FileNotFoundError:
        return []
    try:
        own = check_seal(uri, content) is not None
    except BrokenArtifactError:
        own = False
    if not own:
        raise UsageError(f"--to: {uri} was not written by clipes, or was changed since; name another folder")
    return [_entry(line) for line in content.decode().split("\n")[:-2]]


def _entry(line: str) -> tuple[str, str]:
    digest, name = line.removeprefix("\\").split("  ", 1)
    if line.startswith("\\"):
        plain = {escape: each for each, escape in ESCAPES.items()}
        name = re.sub(r"\\.", lambda found: plain[found[0]], name)
    return name, digest
