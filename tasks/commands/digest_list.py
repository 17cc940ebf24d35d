"""The SHA-256 of the files that clipes wrote to a folder, kept in a file that `sha256sum --check` reads."""

import re
import shutil
import tempfile
from typing import BinaryIO

from clipes.tasks.storage.checksums.seals import BLANK_SEAL, check_seal, seal_file
from clipes.tasks.storage.user_files import join, read_bytes, written_in_pieces
from clipes_core.errors import BrokenArtifactError, UsageError

FILE = "SHA256SUMS"
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}  # as in coreutils; a line with an escape begins with a backslash


class DigestList:
    """The names and digests of the files that clipes wrote to a folder, now and earlier.

    The lines of new files are collected on the local disk, so the needed memory does not depend on their number.

    Args:
        folder: URI of the folder.

    Raises:
        UsageError: the folder has a file SHA256SUMS that clipes did not write, or that was changed since.
        DatasetError: the file cannot be read.
        TransientError: the network or the server fails.
    """

    def __init__(self, folder: str) -> None:
        self.uri = join(folder, FILE)
        self._earlier = _read(self.uri)
        self._lines: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # it is removed with this object
        self.count = 0

    @property
    def remaining(self) -> int:
        """Number of files that clipes wrote earlier and has not written again."""
        return len(self._earlier)

    def lists(self, name: str, digest: str) -> bool:
        """Return whether clipes wrote a file with this name and this SHA-256 earlier."""
        return self._earlier.get(name) == digest

    def add(self, name: str, digest: str) -> None:
        """Add a file that has just been written."""
        self._earlier.pop(name, None)
        self._lines.write(_line(name, digest))
        self.count += 1

    def save(self) -> None:
        """Write SHA256SUMS: the earlier files that were not written again, the new files, and a seal.

        Raises:
            StorageError: the file cannot be written.
            TransientError: the network or the server fails.
        """
        self._lines.seek(0)
        with written_in_pieces(self.uri) as path:
            with path.open("wb") as file:
                for name, digest in self._earlier.items():
                    file.write(_line(name, digest))
                shutil.copyfileobj(self._lines, file)
                file.write(f"# {BLANK_SEAL}\n".encode())  # sha256sum ignores lines that begin with #
            seal_file(path)


def _line(name: str, digest: str) -> bytes:
    escaped = "".join(ESCAPES.get(each, each) for each in name)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n".encode()


def _read(uri: str) -> dict[str, str]:
    """Return name -> digest of the files in a list; an empty dict if there is no list."""
    try:
        content = read_bytes(uri)
    except FileNotFoundError:
        return {}
    try:
        own = check_seal(uri, content) is not None
    except BrokenArtifactError:
        own = False
    if not own:
        raise UsageError(f"--to: {uri} was not written by clipes, or was changed since; name another folder")
    return dict(map(_entry, content.decode().split("\n")[:-2]))


def _entry(line: str) -> tuple[str, str]:
    digest, name = line.removeprefix("\\").split("  ", 1)
    if line.startswith("\\"):
        plain = {escape: each for each, escape in ESCAPES.items()}
        name = re.sub(r"\\.", lambda found: plain[found[0]], name)
    return name, digest
