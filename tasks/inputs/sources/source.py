"""The base class of the sources from which photos are read, and the fingerprints of their files."""

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO

from clipes.tasks.storage.listing import FileFacts
from clipes_core.errors import DatasetError, ErrorKind, PhotoError, TransientError

ABSENT = "absent"  # fingerprint of a file that did not exist when the files were listed
UNKNOWN = ""  # fingerprint of a file that was never listed: its content is not checked
ETAG = "etag:"
CONTENT = "sha256:"

# 1980-01-02 [s since 1970]. tar, zip, nix and container images can give all files an earlier time, to be reproducible.
FIRST_PLAUSIBLE_TIME = 315_619_200

Failure = DatasetError | TransientError | PhotoError


@dataclass(frozen=True)
class Found:
    """Files that were looked up.

    Attributes:
        files: URI -> metadata of each file that exists.
        failures: URI -> error of each file that cannot be looked up. A PhotoError concerns only this file. Another
            error concerns the whole folder or archive of the file.
    """

    files: dict[str, FileFacts] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def add(self, other: "Found") -> None:
        """Add the files and failures of another look-up."""
        self.files.update(other.files)
        self.failures.update(other.failures)


class Source(ABC):
    """One kind of place where photos are stored."""

    @abstractmethod
    def claims(self, uri: str) -> bool:
        """Return whether a file with this path or URI may come from this source, without looking it up."""

    @abstractmethod
    def find(self, uris: Collection[str]) -> Found:
        """Look up the metadata of many files. No error is raised: each one is in the failures."""

    @abstractmethod
    def read(self, uri: str, fingerprint: str) -> bytes:
        """Read a whole file, and check that it has not changed since it was listed.

        Args:
            uri: path or URI of the file.
            fingerprint: fingerprint of the file when it was listed; ABSENT or UNKNOWN if there is none.

        Raises:
            FileNotFoundError: the file does not exist.
            PhotoError: CHANGED; the file has changed since it was listed. UNREADABLE; its archive is damaged.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """

    def retries(self, uri: str) -> bool:
        """Return whether `find` and `read` themselves retry temporary failures of this file for about a minute."""
        return False

    def digest(self, uri: str) -> str:
        """Return the fingerprint of a file by its content; read the file for it. Raises the errors of `read`."""
        return content_fingerprint(self.read(uri, UNKNOWN))

    def key_path(self, path: str) -> str:
        """Return the part of a path that identifies a photo: by default, the path itself."""
        return path

    def keeping(self, store: str) -> "Source":
        """Return a source that keeps the indexes of archives in a store; by default, the source itself."""
        return self


class WholeFiles(Source):
    """A source whose files are stored one by one, and can be read in part. Archives are such files, too."""

    @abstractmethod
    def open(self, uri: str, fingerprint: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for a `with` block, which can read any part of it. Raises the errors of `read`."""


class SourceTable:
    """Sources in the order in which they are asked whether they claim a URI. The last source claims all URIs."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def keeping(self, store: str) -> "SourceTable":
        """Return the same sources, which keep the indexes of archives in a store."""
        return SourceTable(*(source.keeping(store) for source in self._sources))

    def of(self, uri: str) -> Source:
        """Return the first source that claims a path or URI."""
        return next(source for source in self._sources if source.claims(uri))

    def find(self, uris: Iterable[str]) -> Found:
        """Look up the metadata of many files; see `Source.find`."""
        by_source: dict[Source, dict[str, None]] = defaultdict(dict)
        for uri in uris:
            by_source[self.of(uri)][uri] = None
        found = Found()
        for source, own in by_source.items():
            found.add(source.find(own))
        return found

    def read(self, uri: str, fingerprint: str) -> bytes:
        """Read a whole file; see `Source.read`."""
        return self.of(uri).read(uri, fingerprint)

    def key_path(self, path: str) -> str:
        """Return the part of a path that identifies a photo, without the names of archives."""
        for source in self._sources:
            path = source.key_path(path)
        return path


class WholeFileTable(SourceTable):
    """Sources of whole files."""

    def __init__(self, *sources: WholeFiles) -> None:
        super().__init__(*sources)
        self._whole = sources

    def open(self, uri: str, fingerprint: str) -> AbstractContextManager[BinaryIO]:
        """Open a file; see `WholeFiles.open`."""
        return next(source for source in self._whole if source.claims(uri)).open(uri, fingerprint)


def is_exact(facts: FileFacts) -> bool:
    """Return whether the fingerprint of a file changes whenever the file changes.

    It does not if it consists of a size and of a time that says nothing, because some tools write the same time for all
    files.
    """
    if facts.fingerprint.startswith(ETAG) or facts.modified is None:
        return True
    return facts.modified >= FIRST_PLAUSIBLE_TIME


def content_fingerprint(data: bytes) -> str:
    """Return the fingerprint of a file that is identified by its content."""
    return f"{CONTENT}{hashlib.sha256(data).hexdigest()[:32]}"


def changed(uri: str) -> PhotoError:
    """Return the error of a file that has changed since it was listed."""
    return PhotoError(ErrorKind.CHANGED, f"{uri} has changed since the run listed it: run again")


def transient_photo_error(error: TransientError) -> PhotoError:
    """Return the error of a photo that cannot be read for a temporary cause."""
    slow = isinstance(error.__cause__, TimeoutError)
    return PhotoError(ErrorKind.TIMEOUT if slow else ErrorKind.NETWORK, str(error))


def failure_of(error: Exception, uri: str) -> Failure:
    """Return the failure of a file for an error of `Source.read`."""
    if isinstance(error, PhotoError) and error.kind is ErrorKind.CHANGED:
        return TransientError(error.reason)
    if isinstance(error, DatasetError | TransientError | PhotoError):
        return error
    return DatasetError(f"{uri} does not exist" if isinstance(error, FileNotFoundError) else str(error))
