"""Write sealed Parquet files one row group at a time.

The footer of a sealed file contains checksums of the rest of the file in blocks, and a seal of itself.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.checksums.blocks import Blocks
from clipes.tasks.storage.checksums.seals import BLANK_SEAL, seal_file
from clipes.tasks.storage.filesystem import translate_storage_errors, translate_write_errors
from clipes.tasks.storage.parquet.footer import BLOCKS, INDEX, PREFIX, SEAL
from clipes.tasks.storage.parquet.index import encode_index, indexed_columns

ROWS_PER_GROUP = 64  # of an artifact; limits a worker's memory, however large its shard is
# No statistics: those of binary columns hold values of up to 4 kB, which would make the footers large.
OPTIONS: Mapping[str, Any] = {"compression": "zstd", "write_page_checksum": True, "write_statistics": False}
TABLE_ROWS_PER_GROUP = 1 << 16  # of a table that is written at once, and whose rows are small


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
            self._parquet = pq.ParquetWriter(path, named, **OPTIONS)

    def write(self, table: pa.Table) -> None:
        """Write rows."""
        with translate_storage_errors(self._uri):
            self._parquet.write_table(table, row_group_size=TABLE_ROWS_PER_GROUP)

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
    """Collects rows, writes them one row group at a time, and writes the index if the rows stand for photos.

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
        self._indexed = indexed_columns(schema)
        self._index = [schema.empty_table().select(self._indexed)] if self._indexed else []
        self.complete = True

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add entries to the footer; each name gets the prefix `clipes.`."""
        self._parquet.add_metadata(metadata)

    def close(self) -> None:
        """Write the collected rows, the index and the footer."""
        self._flush()
        index = {INDEX.removeprefix(PREFIX): encode_index(self._index)} if self._index else {}
        self._parquet.add_metadata({**index, "complete": str(self.complete).lower()})
        self._parquet.close()

    def abandon(self) -> None:
        """Close the incomplete file, so that the caller can remove it; ignore errors such as a full disk."""
        self._parquet.abandon()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema)
            self._parquet.write(table)
            if self._indexed:
                self._index.append(table.select(self._indexed))
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


def _prefixed(metadata: Mapping[str, str]) -> dict[str, str]:
    return {f"{PREFIX}{name}": value for name, value in metadata.items()}
