"""Index files: the members of archives, kept in a store, so that a run reads each version of an archive only once."""

import hashlib
import logging
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.inputs.sources.members import SCHEMA, Members
from clipes.tasks.inputs.sources.source import ETAG, FIRST_PLAUSIBLE_TIME
from clipes.tasks.storage.files import write_atomically
from clipes.tasks.storage.layout import archive_index_uri
from clipes.tasks.storage.listing import FileFacts
from clipes.tasks.storage.parquet.errors import MISSING
from clipes.tasks.storage.parquet.footer import read_footer, repeat_if_replaced
from clipes.tasks.storage.parquet.reading import read_table
from clipes.tasks.storage.parquet.writing import write_table
from clipes_core.errors import BrokenArtifactError, StorageError, TransientError

FORMAT = 1  # increment it if a source finds other members in the same archive, or if the columns change
KEY_LENGTH = 16  # hexadecimal digits
OF_A_MEMBER = r"^[a-z]+:[^@]*@(?P<version>.*)$"  # fingerprint of a photo in an archive; see `ArchiveSource`

logger = logging.getLogger(__name__)


class IndexFiles:
    """The index files of a store. The name of each file depends on the URI and the fingerprint of the archive.

    A missing or damaged file is made again. If the store refuses to read or to write a file, no other file is read or
    written, and `log` says so. An index is not kept if its archive is damaged, because an incomplete download can look
    the same; or if the archive may change without a change of its fingerprint.

    Args:
        store: URI of the store.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._damaged: list[BrokenArtifactError] = []
        self._read_error: StorageError | TransientError | None = None
        self._write_error: StorageError | TransientError | None = None

    def members(self, archive: FileFacts, read: Callable[[FileFacts], Members]) -> Members:
        """Return the members of an archive from its index file; if there is none, read the archive and write the file.

        Args:
            archive: metadata of the archive.
            read: function that reads the archive. Its errors are raised.
        """
        if not _identifies_content(archive):
            return read(archive)
        kept = self._kept(archive)
        if kept is not None:
            return kept
        members = read(archive)
        if members.damage is None:
            self._keep(archive, members)
        return members

    def log(self) -> None:
        """Log what went wrong with the files since the last call."""
        damaged, self._damaged = self._damaged, []
        if damaged:
            first = f"{damaged[0].uri} {damaged[0].reason}"
            logger.warning(
                "%d indexes of archives are damaged: clipes makes them again; first: %s", len(damaged), first
            )
        if self._read_error is not None:
            logger.warning("clipes reads whole archives, because it cannot read their indexes: %s", self._read_error)
        if self._write_error is not None:
            reason = "the next run reads the archives again, because their indexes cannot be kept"
            logger.warning("%s: %s", reason, self._write_error)
        self._read_error = self._write_error = None

    def _kept(self, archive: FileFacts) -> Members | None:
        if self._read_error is not None:
            return None
        uri = index_uri(self._store, archive)
        try:
            return Members(repeat_if_replaced(lambda: _read(uri, _identity(archive))))
        except BrokenArtifactError as broken:
            if broken.reason != MISSING:
                self._damaged.append(broken)
        except (StorageError, TransientError) as error:
            self._read_error = error
        return None

    def _keep(self, archive: FileFacts, members: Members) -> None:
        if self._write_error is not None:
            return
        uri = index_uri(self._store, archive)
        try:
            with write_atomically(uri) as temporary:
                write_table(uri, temporary, members.table, _identity(archive))
        except (StorageError, TransientError) as error:
            self._write_error = error


def index_uri(store: str, archive: FileFacts) -> str:
    """Return the URI of the index file of an archive, whether or not it exists."""
    return archive_index_uri(store, _key(archive.uri), version_key(archive.fingerprint))


def version_key(fingerprint: str) -> str:
    """Return the part of an index file's name that depends on the fingerprint of the archive."""
    return _key(f"{FORMAT} {fingerprint}")


def version_keys(fingerprints: pa.ChunkedArray) -> set[str]:
    """Return the version keys of the archives that contain photos with these fingerprints; nulls are ignored."""
    versions = pc.struct_field(pc.extract_regex(fingerprints, OF_A_MEMBER), "version")
    return {version_key(version) for version in pc.unique(versions).to_pylist() if version is not None}


def _read(uri: str, identity: dict[str, str]) -> pa.Table:
    footer = read_footer(uri)
    if footer.seal is None or not identity.items() <= footer.metadata.items():
        raise BrokenArtifactError(uri, "is not the index of this archive")
    table = read_table(uri, SCHEMA.names, footer)
    if table.schema != SCHEMA:
        raise BrokenArtifactError(uri, "has columns of other types")
    return table


def _identity(archive: FileFacts) -> dict[str, str]:
    return {"archive": archive.uri, "version": archive.fingerprint}


def _identifies_content(archive: FileFacts) -> bool:
    """Return whether the fingerprint of an archive changes with its content; a size without a time does not."""
    plausible = archive.modified is not None and archive.modified >= FIRST_PLAUSIBLE_TIME
    return archive.fingerprint.startswith(ETAG) or plausible


def _key(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:KEY_LENGTH]
