"""One Parquet file of a store: written a row group at a time, read with its pages checked, and what its footer says."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes_core.errors import BrokenArtifactError

ROWS_AT_ONCE = 64  # a row group; bounds a worker's memory however large its shard is
PREFIX = "clipes."
MISSING = "is missing"
# Every page is checked. A thread of Arrow's that reads ahead may still hold the Python file when the process ends, and
# aborts it then; so may those of `use_threads`.
CHECKED: Mapping[str, Any] = {"page_checksum_verification": True, "pre_buffer": False}


@dataclass(frozen=True)
class Footer:
    """What the end of an artifact says of it.

    Attributes:
        rows: how many.
        metadata: the `clipes.` entries, prefix removed.
    """

    rows: int
    metadata: dict[str, str]


class ArtifactWriter:
    """Collects rows and writes them a row group at a time.

    Args:
        uri: what the artifact will be.
        path: where it is written meanwhile.
        schema: of the rows.
        metadata: for the footer, under `clipes.`.
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
        """State more in the footer, under `clipes.`."""
        self._parquet.add_key_value_metadata({f"{PREFIX}{name}": value for name, value in metadata.items()})

    def close(self) -> None:
        """Write what has been collected, and the footer."""
        self._flush()
        with translate_storage_errors(self._uri):
            self._parquet.add_key_value_metadata({f"{PREFIX}complete": str(self.complete).lower()})
            self._parquet.close()

    def abandon(self) -> None:
        """Let go of a file that is thrown away: on a full disk its footer has no place either."""
        with suppress(OSError):
            self._parquet.close()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema)
            with translate_storage_errors(self._uri):
                self._parquet.write_table(table)
            self._rows.clear()


@contextmanager
def opened(uri: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file of a store; every page that is read in the block is checked. Read it with `use_threads=False`.

    Raises:
        BrokenArtifactError: it is missing, does not open or fails a checksum.
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    with there(uri), translate_storage_errors(uri):
        fs, path = filesystem(uri)
        with parsed(uri), fs.open(path, "rb") as file:
            yield pq.ParquetFile(file, **CHECKED)


@contextmanager
def there(uri: str) -> Iterator[None]:
    """A file that is not there has been, for it was written before anyone asks for it.

    Raises:
        BrokenArtifactError: it is missing.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise BrokenArtifactError(uri, MISSING, "run again") from exc


@contextmanager
def parsed(uri: str) -> Iterator[None]:
    """Turn what pyarrow raises over a file's content into an error that names it; those of the disk go through.

    Raises:
        BrokenArtifactError: the content is no Parquet, or a page fails its checksum.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as exc:
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc
    except OSError as exc:
        if type(exc) is not OSError or exc.errno is not None:
            raise
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc  # pyarrow's own, as for a checksum


def check_columns(uri: str, parquet: pq.ParquetFile, columns: Sequence[str] | None) -> None:
    """Raise BrokenArtifactError where it lacks one of some columns."""
    missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
    if missing:
        raise BrokenArtifactError(uri, f"lacks the columns {missing}")
