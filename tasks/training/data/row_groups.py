"""Read some columns of single row groups, without fetching the whole Parquet file."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.checksums.blocks import Blocks
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.parquet import (
    CHECKED,
    blocks_of,
    check_columns,
    open_parquet,
    report_missing_as_broken,
    translate_parquet_errors,
)


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A Parquet file whose footer has been read. It can be pickled.

    Attributes:
        uri: path or URI of the file.
        footer: metadata that locates the row groups.
    """

    uri: str
    footer: pq.FileMetaData

    @classmethod
    def of_file(cls, uri: str, columns: Sequence[str]) -> "RowGroups":
        """Read the footer of a file, and check that the file has the given columns.

        Raises:
            BrokenArtifactError: the file is missing, does not open or lacks a column.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        with open_parquet(uri) as parquet:
            check_columns(uri, parquet, columns)
            return cls(uri, parquet.metadata)

    @cached_property
    def _blocks(self) -> Blocks | None:
        return blocks_of(self.footer)

    def __len__(self) -> int:
        return self.footer.num_row_groups

    def span(self, group: int, columns: Sequence[str]) -> tuple[int, int]:
        """Return the smallest range of bytes [start, end) that contains the given columns of a row group.

        In a sealed file, the range is extended to whole blocks, so that their checksums can be verified.
        """
        found = self.footer.row_group(group)
        chunks = [found.column(index) for index in range(found.num_columns)]
        spans = [_span(chunk) for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns]
        start, end = min(start for start, _ in spans), max(end for _, end in spans)
        return (start, end) if self._blocks is None else self._blocks.around(start, end)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the given columns of each row group as a table. Only the ranges that `span` returns are fetched.

        Raises:
            BrokenArtifactError: the file is missing, or a page fails its checksum.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        spans = [self.span(group, columns) for group in range(len(self))]
        with report_missing_as_broken(self.uri), translate_storage_errors(self.uri):
            fs, path = filesystem(self.uri)
            starts, ends = [start for start, _ in spans], [end for _, end in spans]
            parts = fs.cat_ranges([path] * len(spans), starts, ends, on_error="raise")
        for group, (start, data) in enumerate(zip(starts, parts, strict=True)):
            yield self.decoded(group, columns, start, data)

    def decoded(self, group: int, columns: Sequence[str], start: int, data: bytes) -> pa.Table:
        """Decode columns of a row group.

        Args:
            group: index of the row group in the file.
            columns: names of the columns.
            start: offset of `data` in the file [bytes].
            data: bytes of the file from `start` on. They must contain the range that `span` returns.

        Raises:
            BrokenArtifactError: the data fails a checksum.
        """
        with translate_parquet_errors(self.uri):
            if self._blocks is not None:
                self._blocks.check(self.uri, self.span(group, columns), data)
            file = pq.ParquetFile(_Part(start, data), metadata=self.footer, **CHECKED)
            return file.read_row_group(
                group, list(columns), use_threads=False
            )  # no threads, because the loader already uses several processes


class _Part(io.BytesIO):
    """A file object that holds only a part of a file. Its methods `seek` and `tell` use positions in the whole file."""

    def __init__(self, start: int, data: bytes) -> None:
        super().__init__(data)
        self._start = start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(offset - self._start if whence == io.SEEK_SET else offset, whence) + self._start

    def tell(self) -> int:
        return super().tell() + self._start


def _span(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    return start, start + chunk.total_compressed_size
