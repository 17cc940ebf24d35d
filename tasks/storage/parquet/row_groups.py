"""Read some columns of row groups by ranges of bytes, without fetching the whole Parquet file."""

import io
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.checksums.blocks import BLOCK, Blocks
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.parquet.errors import report_missing_as_broken, translate_parquet_errors
from clipes.tasks.storage.parquet.footer import blocks_of, notice_replacement, parse
from clipes_core.errors import BrokenArtifactError

AT_ONCE = 16 << 20  # bytes of row groups that are fetched together; limits the memory, and hides the latency
GAP = BLOCK  # ranges that are at most this many bytes apart are fetched as one
# Verify every page, and do not let Arrow read ahead in its own threads. If such a thread still holds a Python file
# object when the process exits, the process aborts. The threads of `use_threads=True` can cause the same, so every read
# passes `use_threads=False`.
CHECKED: Mapping[str, Any] = {"page_checksum_verification": True, "pre_buffer": False}

Span = tuple[int, int]  # range of bytes [start, end) in a file


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A Parquet file whose footer has been read. It can be pickled.

    Attributes:
        uri: path or URI of the file.
        content: bytes of the footer.
    """

    uri: str
    content: bytes

    @property
    def footer(self) -> pq.FileMetaData:
        """The metadata that locates the row groups."""
        return parse(self.content)

    @cached_property
    def _blocks(self) -> Blocks | None:
        return blocks_of(self.footer)

    def __len__(self) -> int:
        return self.footer.num_row_groups

    def span(self, group: int, columns: Sequence[str]) -> Span:
        """Return the smallest range of bytes [start, end) that contains the given columns of a row group.

        In a sealed file, the range is extended to whole blocks, so that their checksums can be verified.
        """
        chunks = self._chunks(group, columns)
        return self._around((min(start for start, _ in chunks), max(end for _, end in chunks)))

    def tables(self, columns: Sequence[str] | None = None, groups: Iterable[int] | None = None) -> Iterator[pa.Table]:
        """Yield columns of each row group as a table. Only ranges with these columns are fetched, AT_ONCE bytes a time.

        Args:
            columns: names of the columns; None for all.
            groups: indices of the row groups, in ascending order; None for all.

        Raises:
            BrokenArtifactError: the file is missing, or a page or a block fails its checksum.
            ReplacedError: another run has replaced the file since its footer was read.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        for together in self._batches(range(len(self)) if groups is None else groups, columns):
            parts = self._fetch([chunk for group in together for chunk in self._chunks(group, columns)])
            for group in together:
                yield self._decoded(group, columns, parts)

    def decoded(self, group: int, columns: Sequence[str], start: int, data: bytes) -> pa.Table:
        """Decode columns of a row group.

        Args:
            group: index of the row group in the file.
            columns: names of the columns.
            start: offset of `data` in the file [bytes].
            data: the bytes of the range that `span` returns.

        Raises:
            BrokenArtifactError: the data fails a checksum.
            ReplacedError: the data fails a checksum, because another run has replaced the file since its footer was
                read.
        """
        if self._blocks is not None:
            with notice_replacement(self.uri, self.content):
                self._blocks.check(self.uri, self.span(group, columns), data)
        return self._decoded(group, columns, [(start, data)])

    def _decoded(self, group: int, columns: Sequence[str] | None, parts: Sequence[tuple[int, bytes]]) -> pa.Table:
        with notice_replacement(self.uri, self.content), translate_parquet_errors(self.uri):
            file = pq.ParquetFile(_Parts(parts), metadata=self.footer, **CHECKED)
            names = None if columns is None else list(columns)
            return file.read_row_group(group, names, use_threads=False).replace_schema_metadata(None)

    def _chunks(self, group: int, columns: Collection[str] | None) -> list[Span]:
        found = self.footer.row_group(group)
        chunks = (found.column(index) for index in range(found.num_columns))
        wanted = (chunk for chunk in chunks if columns is None or chunk.path_in_schema.partition(".")[0] in columns)
        return [_span(chunk) for chunk in wanted]

    def _batches(self, groups: Iterable[int], columns: Collection[str] | None) -> Iterator[list[int]]:
        """Divide row groups into batches of neighbours, with at most AT_ONCE bytes or a single row group."""
        batch: list[int] = []
        size = 0
        for group in groups:
            own = sum(end - start for start, end in self._chunks(group, columns))
            if batch and size + own > AT_ONCE:
                yield batch
                batch, size = [], 0
            batch.append(group)
            size += own
        if batch:
            yield batch

    def _fetch(self, chunks: Iterable[Span]) -> list[tuple[int, bytes]]:
        """Fetch ranges of bytes and check their blocks; return (start, bytes) of each range in ascending order."""
        spans = _merged(map(self._around, chunks))
        starts, ends = [start for start, _ in spans], [end for _, end in spans]
        with report_missing_as_broken(self.uri), translate_storage_errors(self.uri):
            fs, path = filesystem(self.uri)
            parts = fs.cat_ranges([path] * len(spans), starts, ends, on_error="raise")
        if self._blocks is not None:
            with notice_replacement(self.uri, self.content):
                for span, data in zip(spans, parts, strict=True):
                    self._blocks.check(self.uri, span, data)
        return list(zip(starts, parts, strict=True))

    def _around(self, span: Span) -> Span:
        return span if self._blocks is None else self._blocks.around(*span)


def check_columns(uri: str, schema: pa.Schema, columns: Collection[str] | None) -> None:
    """Raise BrokenArtifactError if any of the given columns is missing from the schema of a file."""
    missing = sorted(set(columns or ()) - set(schema.names))
    if missing:
        raise BrokenArtifactError(uri, f"lacks the columns {missing}")


class _Parts(io.RawIOBase):
    """A file object that holds only parts of a file; its positions are those in the whole file.

    Args:
        parts: (position in the file, bytes) of each part, in ascending order.
    """

    def __init__(self, parts: Sequence[tuple[int, bytes]]) -> None:
        super().__init__()
        self._starts, self._data = [start for start, _ in parts], [data for _, data in parts]
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position [bytes]."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it; the end is the end of the last part."""
        origins = {
            io.SEEK_SET: 0,
            io.SEEK_CUR: self._position,
            io.SEEK_END: self._starts[-1] + len(self._data[-1]) if self._starts else 0,
        }
        self._position = origins[whence] + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, but not beyond the end of the part at the current position."""
        place = bisect_right(self._starts, self._position) - 1
        if place < 0:
            return b""
        first = self._position - self._starts[place]
        part = self._data[place][first : None if size is None or size < 0 else first + size]
        self._position += len(part)
        return part


def _span(chunk: pq.ColumnChunkMetaData) -> Span:
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    return start, start + chunk.total_compressed_size


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return ranges in ascending order, in which ranges that overlap or are at most GAP bytes apart are one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + GAP:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
