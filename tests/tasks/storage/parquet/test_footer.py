import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.parquet_files import SCHEMA, rows, write

from clipes.tasks.storage.parquet.footer import READ_FIRST, read_footer
from clipes.tasks.storage.parquet.reading import read_table


@pytest.mark.parametrize("complete", [True, False])
def test_the_footer_holds_the_metadata_and_whether_every_row_has_a_result(path, complete):
    uri = write(path, 2, complete, {"config": "kö"}, weights="12 abc")

    footer = read_footer(uri)

    assert footer.rows == 2
    assert footer.metadata == {"config": "kö", "weights": "12 abc", "complete": str(complete).lower()}
    other_readers = pq.read_metadata(path).metadata
    assert (other_readers[b"clipes.config"], other_readers[b"clipes.weights"]) == ("kö".encode(), b"12 abc")


def test_metadata_of_other_programs_is_ignored(path):
    table = pa.Table.from_pylist(rows(1), schema=SCHEMA).replace_schema_metadata(
        {"clipes.stage": "masks", "stage": "x"}
    )
    pq.write_table(table, path)
    assert read_footer(str(path)).metadata == {"stage": "masks"}
    pq.write_table(table.replace_schema_metadata(None), path)
    assert read_footer(str(path)).metadata == {}


def test_a_footer_longer_than_the_first_read_is_read_whole(path):
    uri = write(path, metadata={"config": "x" * 2 * READ_FIRST})
    assert len(read_footer(uri).metadata["config"]) == 2 * READ_FIRST
    assert read_table(uri).to_pylist() == rows(3)
