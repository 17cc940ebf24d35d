"""The files of a store: which artifact each one is, how large and how old."""

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clipes.tasks.storage.filesystem import MTIME_KEYS, explained, filesystem, is_local

# With the weights and checkpoints that lie beside a segmenter's.
ARTIFACT = re.compile(
    r".*/artifacts/(\w+)/([0-9a-f]{16})/(\d{3,}-[0-9a-f]{16})(?:\.parquet|\.safetensors|\.checkpoints/[^/]+\.pt)"
)
HALF_WRITTEN = re.compile(r".*/\.[^/]+\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class StoredFile:
    """A file of a store.

    Attributes:
        uri: full.
        size_bytes: its length.
        modified: seconds since 1970, None where the store does not tell.
    """

    uri: str
    size_bytes: int
    modified: float | None

    @property
    def name(self) -> str:
        """The last part of its URI."""
        return posixpath.basename(self.uri)

    @property
    def half_written(self) -> bool:
        """Whether it is what a killed process, or one at work, has written so far."""
        return HALF_WRITTEN.fullmatch(self.uri) is not None

    @property
    def artifact(self) -> tuple[str, str, str] | None:
        """Stage, stage key and file name of the artifact that this is, or belongs to; None for other files."""
        found = ARTIFACT.fullmatch(self.uri)
        return (found[1], found[2], f"{found[3]}.parquet") if found else None


def files_in(folder: str) -> list[StoredFile]:
    """What lies directly in a folder, other folders too; nothing where there is no such folder.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    try:
        with explained(folder):
            fs, path = filesystem(folder)
            entries = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return [_stored(posixpath.join(folder, posixpath.basename(entry["name"].rstrip("/"))), entry) for entry in entries]


def files_starting(folder: str, start: str) -> list[StoredFile]:
    """The files directly in a folder whose names start so; the others cost no more than their names.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    try:
        with explained(folder):
            fs, path = filesystem(folder)
            if is_local(fs):
                with os.scandir(path) as entries:
                    names = [entry.name for entry in entries if entry.name.startswith(start)]
                found = [fs.info(posixpath.join(path, name)) for name in names]
            else:  # object stores look for the start themselves; a file system that cannot gives all
                found = list(fs.find(path, maxdepth=1, prefix=start, detail=True).values())
    except FileNotFoundError:
        return []
    files = (_stored(posixpath.join(folder, posixpath.basename(entry["name"])), entry) for entry in found)
    return [file for file in files if file.name.startswith(start)]


def files_below(folder: str) -> list[StoredFile]:
    """All files below a folder; none where there is no such folder.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    with explained(folder):
        fs, path = filesystem(folder)
        entries = fs.find(path, detail=True).values()
    return [_stored(fs.unstrip_protocol(entry["name"]), entry) for entry in entries]


def file_at(uri: str) -> StoredFile | None:
    """The file or folder of a URI; None where there is none.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    try:
        with explained(uri):
            fs, path = filesystem(uri)
            return _stored(uri, fs.info(path))
    except FileNotFoundError:
        return None


def _stored(uri: str, entry: Mapping[str, Any]) -> StoredFile:
    stamp = next((entry[key] for key in MTIME_KEYS if entry.get(key)), None)
    modified = stamp.timestamp() if isinstance(stamp, datetime) else stamp
    return StoredFile(uri, entry["size"], modified if isinstance(modified, int | float) else None)
