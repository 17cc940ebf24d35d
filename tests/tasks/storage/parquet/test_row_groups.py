import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damage import flip, flip_in_page

from clipes.tasks.storage.checksums.blocks import BLOCK
from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.row_groups import RowGroups
from clipes.tasks.storage.parquet.writing import ParquetFileWriter
from clipes_core.errors import BrokenArtifactError, ReplacedError

COLUMNS = ("name", "mask")
GROUPS = [["a", "b"], ["c"], ["d", "e"]]


@pytest.fixture
def path(tmp_path):
    """Return a file with three row groups (2, 1, 2 rows), in which large columns surround name and mask."""
    large = pa.array([b"x" * 10_000] * 2)
    with pq.ParquetWriter(tmp_path / "file.parquet", _table(["a"], large[:1]).schema, write_page_checksum=True) as file:
        for names in GROUPS:
            file.write_table(_table(names, large[: len(names)]))
    return tmp_path / "file.parquet"


def _table(names, large):
    masks = pa.array([name.encode() * 50 for name in names])
    return pa.table({"before": large, "name": names, "mask": masks, "after": large})


def row_groups(path):
    return RowGroups(str(path), read_footer(str(path)).content)


def read(groups, group, columns=COLUMNS):
    start, end = groups.span(group, columns)
    return groups.decoded(group, columns, start, Path(groups.uri).read_bytes()[start:end]).to_pylist()


def test_a_row_group_is_decoded_from_its_own_bytes(path):
    groups = pickle.loads(pickle.dumps(row_groups(path)))
    assert len(groups) == 3
    for group, names in enumerate(GROUPS):
        assert read(groups, group) == [{"name": name, "mask": name.encode() * 50} for name in names]


def test_only_the_requested_columns_are_read(path):
    groups = row_groups(path)
    content, spans = bytearray(path.read_bytes()), [groups.span(group, COLUMNS) for group in range(3)]
    kept = {place for span in spans for place in range(*span)}
    path.write_bytes(bytes(byte if place in kept else 0 for place, byte in enumerate(content)))

    assert len(kept) < len(content) / 2
    assert [table["name"].to_pylist() for table in groups.tables(("name",))] == GROUPS
    assert read(groups, 2)[1]["name"] == "e"


def test_a_sealed_file_is_read_in_whole_blocks_and_damage_to_any_of_them_is_found(path):
    writer = ParquetFileWriter(str(path), path, pq.read_schema(path))
    for names in GROUPS:
        writer.write(_table(names, pa.array([np.random.default_rng(0).bytes(BLOCK)] * len(names))))
    writer.close()
    groups = row_groups(path)
    assert [groups.span(group, COLUMNS)[0] % BLOCK for group in range(3)] == [0, 0, 0]
    assert [[row["name"] for row in read(groups, group)] for group in range(3)] == GROUPS

    flip(path, groups.span(2, COLUMNS)[0])
    assert read(groups, 0)[1]["name"] == "b"
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        read(groups, 2)
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        list(groups.tables(COLUMNS))


def test_a_file_without_rows_has_no_tables(path, tmp_path):
    with pq.ParquetWriter(tmp_path / "none.parquet", pq.read_schema(path)):
        pass
    groups = row_groups(tmp_path / "none.parquet")
    assert list(groups.tables(COLUMNS)) == []


def test_a_damaged_file_is_named(path):
    groups = row_groups(path)
    flip_in_page(path, 1, 2)
    assert len(read(groups, 0)) == 2
    with pytest.raises(BrokenArtifactError, match=r"file\.parquet cannot be read"):
        read(groups, 1)
    with pytest.raises(BrokenArtifactError, match=r"file\.parquet cannot be read"):
        groups.decoded(0, COLUMNS, 0, path.read_bytes()[:100])


def test_bytes_of_a_file_that_another_run_has_replaced_are_not_damaged(path):
    groups = row_groups(path)
    with pq.ParquetWriter(path, pq.read_schema(path), write_page_checksum=True) as file:
        file.write_table(_table(["z"], pa.array([b"y" * 20_000])))
    with pytest.raises(ReplacedError, match=r"file\.parquet was replaced by another run"):
        read(groups, 2)
    with pytest.raises(ReplacedError, match=r"file\.parquet was replaced by another run"):
        list(groups.tables(COLUMNS))


def test_a_missing_file_is_reported(path):
    groups = row_groups(path)
    path.unlink()
    with pytest.raises(BrokenArtifactError, match="is missing: run again"):
        list(groups.tables(COLUMNS))
