"""Write Parquet files one row group at a time, and verify the checksum of every page that is read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes_core.errors import BrokenArtifactError

ROWS_AT_ONCE = 64  # rows per row group; limits a worker's memory, however large its shard is
PREFIX = "clipes."
MISSING = "is missing"
# Verify every page, and do not let Arrow read ahead in its own threads. If such a thread still holds a Python file
# object when the process exits, the process aborts. The threads of `use_threads=True` can cause the same, so every read
# passes `use_threads=False`.
CHECKED: Mapping[str, Any] = {"page_checksum_verification": True, "pre_buffer": False}


@dataclass(frozen=True)
class Footer:
    """The content of an artifact's footer.

    Attributes:
        rows: number of rows in the artifact.
        metadata: name -> value of each entry that has the prefix `clipes.`; the prefix is removed from the name.
    """

    rows: int
    metadata: dict[str, str]


class ArtifactWriter:
    """Collects rows and writes them one row group at a time.

    Args:
        uri: URI of the artifact, for error messages.
        path: path of the local file to write.
        schema: schema of the rows.
        metadata: entries for the footer; each name gets the prefix `clipes.`.

    Attributes:
        complete: value of the footer's entry `clipes.complete`. If it is False, a later run makes the shard again.
    """

    def __init__(self, uri: str, path: Path, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        self._uri, self._schema = uri, schema
        self._rows: list[dict[str, Any]] = []
        self.complete = True
        named = schema.with_metadata({f"{PREFIX}{name}": value for name, value in metadata.items()})
        with translate_storage_errors(uri):
            self._parquet = pq.ParquetWriter(path, named, compression="zstd", write_page_checksum=True)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add entries to the footer; each name gets the prefix `clipes.`."""
        self._parquet.add_key_value_metadata({f"{PREFIX}{name}": value for name, value in metadata.items()})

    def close(self) -> None:
        """Write the collected rows and the footer."""
        self._flush()
        with translate_storage_errors(self._uri):
            self._parquet.add_key_value_metadata({f"{PREFIX}complete": str(self.complete).lower()})
            self._parquet.close()

    def abandon(self) -> None:
        """Close the incomplete file, so that the caller can remove it; ignore errors such as a full disk."""
        with suppress(OSError):
            self._parquet.close()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema)
            with translate_storage_errors(self._uri):
                self._parquet.write_table(table)
            self._rows.clear()


def read_footer(uri: str) -> Footer:
    """Read the row count and the metadata of a file. Raises the same errors as `open_parquet`."""
    with open_parquet(uri) as parquet:
        pairs = [(name.decode(), value.decode()) for name, value in (parquet.metadata.metadata or {}).items()]
        metadata = {name.removeprefix(PREFIX): value for name, value in pairs if name.startswith(PREFIX)}
        return Footer(parquet.metadata.num_rows, metadata)


def read_table(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read some columns of a file (by default, all).

    Raises the same errors as `open_parquet`; in addition, a missing column causes a BrokenArtifactError.
    """
    with open_parquet(uri) as parquet:
        check_columns(uri, parquet, columns)
        return parquet.read(columns=columns, use_threads=False)


def read_rows(uri: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Stream the rows of a file as plain dicts, one row group at a time. Raises the same errors as `read_table`."""
    with open_parquet(uri) as parquet:
        check_columns(uri, parquet, columns)
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns, use_threads=False):
            yield from batch.to_pylist()


def check_pages(uri: str) -> None:
    """Read a file page by page, only to verify all checksums. Raises the same errors as `open_parquet`."""
    with open_parquet(uri) as parquet:
        for _ in parquet.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
            pass


def check_columns(uri: str, parquet: pq.ParquetFile, columns: Sequence[str] | None) -> None:
    """Raise BrokenArtifactError if any of the given columns is missing from a file."""
    missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
    if missing:
        raise BrokenArtifactError(uri, f"lacks the columns {missing}")


@contextmanager
def open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for a `with` block, and verify the checksum of every page that the block reads.

    The block must read with `use_threads=False`; the comment on `CHECKED` says why.

    Raises:
        BrokenArtifactError: the file is missing, does not open or fails a checksum.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with report_missing_as_broken(uri), translate_storage_errors(uri):
        fs, path = filesystem(uri)
        with translate_parquet_errors(uri), fs.open(path, "rb") as file:
            yield pq.ParquetFile(file, **CHECKED)


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
    """Translate pyarrow's errors about the content of a file into a BrokenArtifactError that names the file.

    Errors of the disk are not translated.

    Raises:
        BrokenArtifactError: the content is not Parquet, or a page fails its checksum.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as exc:
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc
    except OSError as exc:
        if type(exc) is not OSError or exc.errno is not None:
            raise
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc  # error of pyarrow, such as a bad checksum
