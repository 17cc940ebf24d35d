"""Translate the errors that occur while a Parquet file is read into errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager

from clipes.tasks.storage.filesystem import first_line, is_storage_error
from clipes_core.errors import BrokenArtifactError, ClipesError

MISSING = "is missing"


@contextmanager
def report_missing_as_broken(uri: str) -> Iterator[None]:
    """Raise a BrokenArtifactError if the block raises a FileNotFoundError.

    Raises:
        BrokenArtifactError: the file is missing. Readers open only files that have been written, so the file was lost.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise BrokenArtifactError(uri, MISSING, "run again") from exc


@contextmanager
def translate_parquet_errors(uri: str) -> Iterator[None]:
    """Translate any error about the content of a file into a BrokenArtifactError that names the file.

    Errors of the disk and of the store, and a lack of memory or threads, are not translated.

    Raises:
        BrokenArtifactError: the content is not Parquet, or fails a checksum.
    """
    try:
        yield
    except Exception as exc:
        # For content that it cannot read, pyarrow raises a NotImplementedError, which is a RuntimeError too.
        lacks_resources = isinstance(exc, MemoryError | RuntimeError) and not isinstance(exc, NotImplementedError)
        if isinstance(exc, ClipesError) or lacks_resources or is_storage_error(exc):
            raise
        raise BrokenArtifactError(uri, f"cannot be read ({first_line(exc)})") from exc
