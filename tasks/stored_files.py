"""The files of a store: which artifact each one is, how large and how old."""

import re
from dataclasses import dataclass

from tasks.artifact_store import ArtifactStore, modified
from tasks.filesystems import explained, filesystem

ARTIFACT = re.compile(r".*/artifacts/(\w+)/([0-9a-f]{16})/(\d{3,}-[0-9a-f]{16}\.parquet)")
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
    def half_written(self) -> bool:
        """Whether it is what a killed process, or one at work, has written so far."""
        return HALF_WRITTEN.fullmatch(self.uri) is not None

    @property
    def artifact(self) -> tuple[str, str, str] | None:
        """Stage, stage key and file name of an artifact; None for other files."""
        found = ARTIFACT.fullmatch(self.uri)
        return (found[1], found[2], found[3]) if found else None


def stored_files(store: ArtifactStore) -> list[StoredFile]:
    """All files of artifacts and runs, half-written ones too.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    found = []
    for folder in store.folders:
        with explained(folder):
            fs, path = filesystem(folder)
            entries = fs.find(path, detail=True).values()
        found += [StoredFile(fs.unstrip_protocol(entry["name"]), entry["size"], modified(entry)) for entry in entries]
    return found
