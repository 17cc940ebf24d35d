"""Read tables and rows of Parquet files. Only the ranges of bytes that hold the wanted columns are fetched.

All functions raise the errors of `read_footer`.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.storage.checksums.blocks import BLOCK
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.parquet.errors import report_missing_as_broken, translate_parquet_errors
from clipes.tasks.storage.parquet.footer import Footer, blocks_of, read_footer
from clipes.tasks.storage.parquet.row_groups import RowGroups, check_columns

ROWS_AT_ONCE = 64  # rows that become Python objects at the same time
CHECKED_AT_ONCE = 128 * BLOCK  # [bytes]


def read_table(uri: str, columns: Sequence[str] | None = None, footer: Footer | None = None) -> pa.Table:
    """Read some columns of a file (by default, all). If the index of the file has them, only the footer is fetched.

    Args:
        uri: path or URI of the file.
        columns: names of the columns; None for all.
        footer: footer of the file, if it has been read before.

    Raises:
        BrokenArtifactError: see `read_footer`; also if a column is missing.
    """
    footer = footer or read_footer(uri)
    check_columns(uri, footer.schema, columns)
    with translate_parquet_errors(uri):
        index = footer.index
    if columns is not None and index is not None and set(columns) <= set(index.column_names):
        return index.select(list(columns))
    names = footer.schema.names if columns is None else list(columns)
    empty = footer.schema.remove_metadata().empty_table().select(names)
    return pa.concat_tables([empty, *(table.select(names) for table in RowGroups(uri, footer.parsed).tables(columns))])


def read_rows(
    uri: str,
    columns: Sequence[str] | None = None,
    image_ids: Collection[str] | None = None,
    footer: Footer | None = None,
) -> Iterator[dict[str, Any]]:
    """Stream the rows of a file as plain dicts, a few row groups at a time.

    Args:
        uri: path or URI of the file.
        columns: names of the columns; None for all.
        image_ids: ids of the photos whose rows are read. Only the row groups that hold these rows are fetched. None
            for all rows.
        footer: footer of the file, if it has been read before.
    """
    footer = footer or read_footer(uri)
    check_columns(uri, footer.schema, columns)
    groups = RowGroups(uri, footer.parsed)
    wanted = None if image_ids is None else _groups_with(uri, groups, footer, image_ids)
    for table in groups.tables(columns, wanted):
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            rows = batch.to_pylist()
            yield from rows if image_ids is None else (row for row in rows if row["image_id"] in image_ids)


def check_whole(uri: str) -> None:
    """Read a file completely, only to verify all of its checksums."""
    footer = read_footer(uri)
    with translate_parquet_errors(uri):
        blocks = blocks_of(footer.parsed)
    if blocks is None:
        for _ in RowGroups(uri, footer.parsed).tables():
            pass
        return
    with report_missing_as_broken(uri), translate_storage_errors(uri):
        fs, path = filesystem(uri)
        for start in range(0, blocks.length, CHECKED_AT_ONCE):
            span = (start, min(start + CHECKED_AT_ONCE, blocks.length))
            blocks.check(uri, span, fs.cat_file(path, start=span[0], end=span[1]))


def _groups_with(uri: str, groups: RowGroups, footer: Footer, image_ids: Collection[str]) -> list[int]:
    """Return the indices of the row groups that hold rows of some photos."""
    ids = read_table(uri, ["image_id"], footer)["image_id"]
    found = pc.is_in(ids, pa.array(list(image_ids), pa.string())).to_numpy()
    ends = list(accumulate(groups.footer.row_group(group).num_rows for group in range(len(groups))))
    return [group for group, span in enumerate(pairwise([0, *ends])) if found[slice(*span)].any()]
