"""Write sealed Parquet files one row group at a time, and verify every byte that is read.

The footer of a sealed file contains checksums of the rest of the file in blocks, and a seal of itself. Files of earlier
versions of clipes have only the checksums of their pages, which do not cover the footer and the headers of the pages.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.checksums.blocks import Blocks, CheckedFile
from clipes.tasks.storage.checksums.seals import BLANK_SEAL, check_seal, seal_file
from clipes.tasks.storage.filesystem import (
    filesystem,
    first_line,
    is_storage_error,
    translate_storage_errors,
    translate_write_errors,
)
from clipes.tasks.storage.layout import ARTIFACT_SUFFIX, artifact_of
from clipes_core.errors import BrokenArtifactError, ClipesError

ROWS_AT_ONCE = 64  # rows per row group; limits a worker's memory, however large its shard is
PREFIX = "clipes."
BLOCKS, SEAL = f"{PREFIX}blocks", f"{PREFIX}seal"  # names of the entries in the footer
MISSING = "is missing"
MAGIC = b"PAR1"  # at the start and at the end of every Parquet file
TAIL = 8  # bytes after the footer: its length, and MAGIC
READ_FIRST = 1 << 16  # bytes to read from the end of a file, to get the whole footer of most files
# Verify every page, and do not let Arrow read ahead in its own threads. If such a thread still holds a Python file
# object when the process exits, the process aborts. The threads of `use_threads=True` can cause the same, so every read
# passes `use_threads=False`.
CHECKED: Mapping[str, Any] = {"page_checksum_verification": True, "pre_buffer": False}


@dataclass(frozen=True)
class Footer:
    """The content of an artifact's footer.

    Attributes:
        rows: number of rows in the artifact.
        metadata: name -> value of each entry that has the prefix `clipes.`, except the checksums. The prefix is removed
            from the name.
        seal: seal of the file; None if it was not sealed.
    """

    rows: int
    metadata: dict[str, str]
    seal: str | None = None


class ParquetFileWriter:
    """Writes a sealed Parquet file.

    Args:
        uri: URI that the file is going to have, for error messages.
        path: path of the local file to write.
        schema: schema of the rows.
        metadata: entries for the footer; each name gets the prefix `clipes.`.
    """

    def __init__(self, uri: str, path: Path, schema: pa.Schema, metadata: Mapping[str, str] | None = None) -> None:
        self._uri, self._path = uri, path
        named = schema.with_metadata({**(schema.metadata or {}), **_prefixed(metadata)}) if metadata else schema
        with translate_write_errors(uri):
            self._parquet = pq.ParquetWriter(path, named, compression="zstd", write_page_checksum=True)

    def write(self, table: pa.Table) -> None:
        """Write rows."""
        with translate_storage_errors(self._uri):
            self._parquet.write_table(table)

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add entries to the footer; each name gets the prefix `clipes.`."""
        self._parquet.add_key_value_metadata(_prefixed(metadata))

    def close(self) -> None:
        """Write the footer, and seal the file."""
        with translate_storage_errors(self._uri):
            blocks = Blocks.of_file(self._path)  # pyarrow does not buffer what it writes
            self._parquet.add_key_value_metadata({BLOCKS: str(blocks), SEAL: BLANK_SEAL})
            self._parquet.close()
            seal_file(self._path, start=blocks.length)

    def abandon(self) -> None:
        """Close the incomplete file, so that the caller can remove it; ignore errors such as a full disk."""
        with suppress(OSError):
            self._parquet.close()


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
        self._parquet, self._schema = ParquetFileWriter(uri, path, schema, metadata), schema
        self._rows: list[dict[str, Any]] = []
        self.complete = True

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add entries to the footer; each name gets the prefix `clipes.`."""
        self._parquet.add_metadata(metadata)

    def close(self) -> None:
        """Write the collected rows and the footer."""
        self._flush()
        self._parquet.add_metadata({"complete": str(self.complete).lower()})
        self._parquet.close()

    def abandon(self) -> None:
        """Close the incomplete file, so that the caller can remove it; ignore errors such as a full disk."""
        self._parquet.abandon()

    def _flush(self) -> None:
        if self._rows:
            self._parquet.write(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


def write_table(uri: str, path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table as a sealed Parquet file.

    Args:
        uri: URI that the file is going to have, for error messages.
        path: path of the local file to write.
        table: the rows.
        metadata: entries for the footer; each name gets the prefix `clipes.`.

    Raises:
        StorageError: the disk refuses the write.
    """
    file = ParquetFileWriter(uri, path, table.schema, metadata)
    try:
        file.write(table)
        file.close()
    except BaseException:
        file.abandon()
        raise


def read_footer(uri: str) -> Footer:
    """Read the row count and the metadata of a file. Raises the same errors as `open_parquet`."""
    with open_parquet(uri) as parquet:
        pairs = [(name.decode(), value.decode()) for name, value in (parquet.metadata.metadata or {}).items()]
        named = {name: value for name, value in pairs if name.startswith(PREFIX) and name not in (BLOCKS, SEAL)}
        metadata = {name.removeprefix(PREFIX): value for name, value in named.items()}
        return Footer(parquet.metadata.num_rows, metadata, dict(pairs).get(SEAL))


def read_schema(uri: str) -> pa.Schema:
    """Read the schema of a file. Raises the same errors as `open_parquet`."""
    with open_parquet(uri) as parquet:
        return parquet.schema_arrow


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


def check_whole(uri: str) -> None:
    """Read a file completely, only to verify all of its checksums. Raises the same errors as `open_parquet`."""
    with _opened(uri) as (parquet, checked):
        if checked is not None:
            checked.check_all()
            return
        for _ in parquet.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
            pass


def check_columns(uri: str, parquet: pq.ParquetFile, columns: Sequence[str] | None) -> None:
    """Raise BrokenArtifactError if any of the given columns is missing from a file."""
    missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
    if missing:
        raise BrokenArtifactError(uri, f"lacks the columns {missing}")


@contextmanager
def open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for a `with` block, and verify the checksums of everything that the block reads.

    The block must read with `use_threads=False`; the comment on `CHECKED` says why.

    Raises:
        BrokenArtifactError: the file is missing, does not open or fails a checksum.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with _opened(uri) as (parquet, _):
        yield parquet


def blocks_of(footer: pq.FileMetaData) -> Blocks | None:
    """Return the checksums of a file's blocks, as its footer states them; None if it was not sealed.

    Raises:
        ValueError: the footer states something else.
    """
    stated = (footer.metadata or {}).get(BLOCKS.encode())
    return None if stated is None else Blocks.parse(stated.decode())


@contextmanager
def _opened(uri: str) -> Iterator[tuple[pq.ParquetFile, CheckedFile | None]]:
    """Open a Parquet file; yield it together with the file object that checks its blocks, if the file was sealed."""
    with report_missing_as_broken(uri), translate_storage_errors(uri):
        fs, path = filesystem(uri)
        with translate_parquet_errors(uri), fs.open(path, "rb") as file:
            start, content = _read_footer_bytes(uri, file)
            check_seal(uri, content)
            footer = pq.read_metadata(io.BytesIO(MAGIC + content))
            blocks = blocks_of(footer)
            _check_identity(uri, footer)
            if blocks is not None and blocks.length != start:
                raise BrokenArtifactError(uri, "cannot be read (its size differs from the size in its footer)")
            checked = None if blocks is None else CheckedFile(uri, file, blocks)
            yield pq.ParquetFile(checked or file, metadata=footer, **CHECKED), checked


def _check_identity(uri: str, footer: pq.FileMetaData) -> None:
    """Raise BrokenArtifactError if an artifact carries the key of a different artifact."""
    own, stated = artifact_of(uri), footer.metadata or {}
    if own is None or f"{PREFIX}content_key".encode() not in stated:  # is_complete refuses artifacts without a key
        return
    found = [stated.get(f"{PREFIX}{name}".encode(), b"").decode() for name in ("stage", "stage_key", "content_key")]
    if found != [own.stage, own.stage_key, own.file.partition("-")[2].removesuffix(ARTIFACT_SUFFIX)]:
        raise BrokenArtifactError(uri, "carries the key of a different artifact")


def _read_footer_bytes(uri: str, file: BinaryIO) -> tuple[int, bytes]:
    """Return the position and the bytes of a file's footer. The bytes include its length and MAGIC after it.

    Raises:
        BrokenArtifactError: the file does not end as a Parquet file.
    """
    size = file.seek(0, io.SEEK_END)
    end = _read_end(file, size, READ_FIRST)
    length = TAIL + int.from_bytes(end[-TAIL : -len(MAGIC)], "little")
    if not end.endswith(MAGIC) or length > size - len(MAGIC):
        raise BrokenArtifactError(uri, "cannot be read (it does not end as a Parquet file)")
    if length > len(end):
        end = _read_end(file, size, length)
    return size - length, end[-length:]


def _read_end(file: BinaryIO, size: int, length: int) -> bytes:
    file.seek(max(0, size - length))
    return file.read()


def _prefixed(metadata: Mapping[str, str]) -> dict[str, str]:
    return {f"{PREFIX}{name}": value for name, value in metadata.items()}


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
