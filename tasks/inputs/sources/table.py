"""The table of sources of photos. To add a source, write a module in this folder, and add its class to a tuple here.

clipes imports all these modules before it checks a config. They must not import large packages such as pyarrow at the
top, because slow imports would delay the report of a mistake in the config.
"""

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pkgutil import resolve_name
from typing import Any, BinaryIO

from clipes.tasks.inputs.sources.source import Found, SourceTable, WholeFileTable, is_exact
from clipes.tasks.storage.listing import THREADS, FileFacts
from clipes_core.errors import PhotoError, StorageError, TransientError

# A URI belongs to the first source that claims it, and archives come first.
ARCHIVES = (  # each class is an ArchiveSource
    "tar:TarArchives",
    "parquet:ParquetArchives",
)
WHOLE_FILES = (  # each class is a WholeFiles; the last one claims all URIs
    "http:WebFiles",
    "files:StoredFiles",
)

logger = logging.getLogger(__name__)


def _class(name: str) -> Any:
    return resolve_name(f"{__package__}.{name}")


_WHOLE = [_class(name)() for name in WHOLE_FILES]
_WHOLE_FILES = WholeFileTable(*_WHOLE)
SOURCES = SourceTable(*(_class(name)(_WHOLE_FILES) for name in ARCHIVES), *_WHOLE)


def find_files(uris: Iterable[str], store: str | None = None) -> Found:
    """Look up the metadata of many files, with fingerprints that change whenever a file changes.

    The fingerprint of a file is what its source states, such as an ETag or the size and the modification time. If this
    says nothing, because the time is implausible, the fingerprint is a digest of the file's content. If such a file
    cannot be read, it keeps its fingerprint, and the stage that needs the file reports the error.

    Args:
        uris: paths or URIs of the files.
        store: URI of the store in which the indexes of archives are kept; None to read the archives themselves.
    """
    found = (SOURCES if store is None else SOURCES.keeping(store)).find(uris)
    unclear = [facts for facts in found.files.values() if not is_exact(facts)]
    if unclear:
        logger.info("reading %d files to identify them, because they have no plausible modification time", len(unclear))
        with ThreadPool(min(THREADS, len(unclear))) as pool:
            found.files.update((facts.uri, facts) for facts in pool.imap_unordered(_with_content_digest, unclear))
    return found


def _with_content_digest(facts: FileFacts) -> FileFacts:
    try:
        return replace(facts, fingerprint=SOURCES.of(facts.uri).digest(facts.uri))
    except (FileNotFoundError, PhotoError, StorageError, TransientError):
        return facts


def retries(uri: str) -> bool:
    """Return whether `read_listed` itself retries temporary failures of this file for about a minute."""
    return SOURCES.of(uri).retries(uri)


def read_listed(uri: str, fingerprint: str) -> bytes:
    """Read a whole file, and check that it has not changed since it was listed; see `Source.read`."""
    return SOURCES.read(uri, fingerprint)


def find_whole(uri: str) -> FileFacts | None:
    """Look up the metadata of a file that is not in an archive, for `open_listed`; return None if there is no file.

    Raises:
        DatasetError, TransientError, PhotoError: the file cannot be looked up.
    """
    found = _WHOLE_FILES.find([uri])
    if uri in found.failures:
        raise found.failures[uri]
    return found.files.get(uri)


def open_listed(uri: str, fingerprint: str) -> AbstractContextManager[BinaryIO]:
    """Open a file that is not in an archive for a `with` block, which can read any part of it; see `WholeFiles.open`.

    Args:
        uri: path or URI of the file.
        fingerprint: fingerprint that the file had when it was looked up; not one by content.
    """
    return _WHOLE_FILES.open(uri, fingerprint)
