import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.index import INDEXED, decode_index, encode_index, indexed_columns
from clipes.tasks.storage.parquet.reading import read_table
from clipes.tasks.storage.parquet.writing import ROWS_PER_GROUP, ArtifactWriter

SCHEMA = pa.schema([*((name, pa.string()) for name in INDEXED), ("mask_png", pa.binary())])


def rows(count):
    digests = [{"input_digest": f"{i:016x}", "output_digest": f"{2 * i:016x}"} for i in range(count)]
    failed = {"status": "error", "error": "too small", "error_kind": "too_small"}
    return [
        {**dict.fromkeys(SCHEMA.names), "image_id": f"photo {i}", "status": "ok", **each, **(failed if i == 2 else {})}
        for i, each in enumerate(digests)
    ]


def write(path, count, schema=SCHEMA):
    writer = ArtifactWriter(str(path), path, schema, {})
    for row in rows(count):
        writer.write(row)
    writer.close()
    return str(path)


@pytest.mark.parametrize("count", [0, 5, 2 * ROWS_PER_GROUP + 1])
def test_the_index_holds_the_small_columns_of_all_row_groups(path, count):
    uri = write(path, count)
    index = read_footer(uri).index
    assert index.to_pylist() == [{name: row[name] for name in INDEXED} for row in rows(count)]
    assert read_table(uri, INDEXED).equals(pq.read_table(path, columns=list(INDEXED)).cast(index.schema))
    assert read_footer(uri).metadata == {"complete": "true"}


def test_columns_inside_and_outside_the_index_are_read_together(path):
    found = read_table(write(path, 70), ["mask_png", "image_id", "status"])
    assert found.column_names == ["mask_png", "image_id", "status"]
    assert found.to_pylist()[69] == {"mask_png": None, "image_id": "photo 69", "status": "ok"}


def test_rows_that_do_not_stand_for_photos_have_no_index(path):
    schema = pa.schema([("image_id", pa.string()), ("status", pa.string())])
    assert indexed_columns(schema) == ()
    uri = write(path, 3, schema)
    assert read_footer(uri).index is None
    assert read_table(uri, ["image_id"]).num_rows == 3


def test_an_index_in_a_file_without_a_seal_is_not_believed(path):
    write(path, 3)
    own = dict(pq.read_metadata(path).metadata)
    del own[b"clipes.seal"], own[b"clipes.blocks"]
    other = pq.read_table(path).slice(0, 2)
    pq.write_table(other.replace_schema_metadata({name: own[name] for name in own if name != b"ARROW:schema"}), path)

    assert read_footer(str(path)).index is None
    assert read_table(str(path), ["image_id"])["image_id"].to_pylist() == ["photo 0", "photo 1"]


def test_an_index_survives_the_way_through_text():
    table = pa.table({"image_id": ["ä", None]})
    assert decode_index(encode_index([table, table]).encode()).equals(pa.concat_tables([table, table]))
