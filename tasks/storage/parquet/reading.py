"""Read tables and rows of Parquet files. Only the ranges of bytes that hold the wanted columns are fetched.

All functions raise the errors of `read_footer`. If another run replaces a file while it is being read, they read it
again from the beginning, unless the caller already has something of the file: its footer or some of its rows.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.storage.checksums.blocks import BLOCK
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.parquet.errors import report_missing_as_broken, translate_parquet_errors
from clipes.tasks.storage.parquet.footer import Footer, blocks_of, notice_replacement, read_footer, repeat_if_replaced
from clipes.tasks.storage.parquet.row_groups import RowGroups, check_columns

ROWS_AT_ONCE = 64  # rows that become Python objects at the same time
CHECKED_AT_ONCE = 128 * BLOCK  # [bytes]


def read_table(
    uri: str,
    columns: Sequence[str] | None = None,
    footer: Footer | None = None,
    image_ids: Collection[str] | None = None,
) -> pa.Table:
    """Read some columns of a file (by default, all). Columns that the index of the file has are taken from there.

    Args:
        uri: path or URI of the file.
        columns: names of the columns; None for all.
        footer: footer of the file, if it has been read before.
        image_ids: ids of the photos whose rows are read. Only the row groups that hold these rows are fetched. None
            for all rows.

    Raises:
        BrokenArtifactError: see `read_footer`; also if a column is missing.
        ReplacedError: another run has replaced the file since the given footer was read, or keeps replacing it.
    """
    if footer is not None:
        return _read_table(uri, footer, columns, image_ids)
    return repeat_if_replaced(lambda: _read_table(uri, read_footer(uri), columns, image_ids))


def _read_table(uri: str, footer: Footer, columns: Sequence[str] | None, image_ids: Collection[str] | None) -> pa.Table:
    check_columns(uri, footer.schema, columns)
    if image_ids is not None:
        return _rows_of(uri, footer, columns, image_ids)
    names = footer.schema.names if columns is None else list(columns)
    index = None if columns is None else footer.index
    known = {} if index is None else {name: index[name] for name in index.column_names}
    fetched = _fetch(uri, footer, [name for name in names if name not in known])
    return pa.table([known[name] if name in known else fetched[name] for name in names], names=names)


def read_rows(uri: str, columns: Sequence[str] | None = None, footer: Footer | None = None) -> Iterator[dict[str, Any]]:
    """Stream the rows of a file as plain dicts, a few row groups at a time. Arguments are those of `read_table`.

    Raises:
        BrokenArtifactError: see `read_footer`; also if a column is missing.
        ReplacedError: another run has replaced the file since its footer was read.
    """
    footer = footer or read_footer(uri)
    check_columns(uri, footer.schema, columns)
    for table in RowGroups(uri, footer.content).tables(columns):
        yield from rows_of(table)


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table as plain dicts. Only a few of them are Python objects at the same time."""
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def check_whole(uri: str) -> None:
    """Read a file completely, only to verify all of its checksums."""
    repeat_if_replaced(lambda: _check_whole(uri, read_footer(uri)))


def _check_whole(uri: str, footer: Footer) -> None:
    with translate_parquet_errors(uri):
        blocks = blocks_of(footer.parsed)
    if blocks is None:
        for _ in RowGroups(uri, footer.content).tables():
            pass
        return
    with notice_replacement(uri, footer.content), report_missing_as_broken(uri), translate_storage_errors(uri):
        fs, path = filesystem(uri)
        for start in range(0, blocks.length, CHECKED_AT_ONCE):
            span = (start, min(start + CHECKED_AT_ONCE, blocks.length))
            blocks.check(uri, span, fs.cat_file(path, start=span[0], end=span[1]))


def _fetch(uri: str, footer: Footer, columns: Sequence[str], groups: Sequence[int] | None = None) -> pa.Table:
    """Read columns of some row groups (by default, all); no column, no request."""
    # schema.empty_table() would import pandas if it is installed.
    empty = pa.Table.from_batches([], footer.schema.remove_metadata()).select(columns)
    tables = RowGroups(uri, footer.content).tables(columns, groups) if columns else ()
    return pa.concat_tables([empty, *(table.select(columns) for table in tables)])


def _rows_of(uri: str, footer: Footer, columns: Sequence[str] | None, image_ids: Collection[str]) -> pa.Table:
    """Read the rows of some photos. Only the row groups that hold these rows are fetched."""
    names, wanted = footer.schema.names if columns is None else list(columns), pa.array(list(image_ids), pa.string())
    held = pc.is_in(read_table(uri, ["image_id"], footer)["image_id"], wanted).to_numpy()
    ends = list(accumulate(footer.parsed.row_group(group).num_rows for group in range(footer.parsed.num_row_groups)))
    groups = [group for group, span in enumerate(pairwise([0, *ends])) if held[slice(*span)].any()]
    table = _fetch(uri, footer, list(dict.fromkeys(["image_id", *names])), groups)
    return table.filter(pc.is_in(table["image_id"], wanted)).select(names)
