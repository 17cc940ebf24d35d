import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import small_artifacts
from support.damage import flip, flip_in_page
from support.parquet_files import SCHEMA, rows, write

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.checksums.blocks import BLOCK
from clipes.tasks.storage.parquet import reading
from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.reading import check_whole, read_rows, read_table
from clipes.tasks.storage.parquet.writing import ROWS_PER_GROUP
from clipes_core.errors import BrokenArtifactError, ReplacedError, StorageError

READS = [read_footer, read_table, lambda uri: list(read_rows(uri)), check_whole]


def test_rows_are_written_and_read_in_groups_to_limit_memory(path):
    uri = write(path, count=2 * ROWS_PER_GROUP + 2)

    with pq.ParquetFile(uri) as parquet:
        sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    assert ROWS_PER_GROUP == 64
    assert sizes == [64, 64, 2]
    assert list(read_rows(uri)) == read_table(uri).to_pylist() == rows(130)


def test_an_artifact_without_rows_has_its_columns(path):
    uri = write(path, 0)
    assert read_table(uri).schema.equals(SCHEMA)
    assert (list(read_rows(uri)), read_footer(uri).rows) == ([], 0)


def test_only_the_blocks_that_are_read_are_checked(path):
    uri = write(path, size=BLOCK)
    flip_in_page(path, group=0, column=2)

    assert read_table(uri, ["image_id"]).num_rows == 3
    assert list(read_rows(uri, ["image_id"]))[2] == {"image_id": "photo 2"}
    for read in (lambda: read_table(uri, ["sizes"]), lambda: list(read_rows(uri, ["sizes"])), lambda: check_whole(uri)):
        with pytest.raises(BrokenArtifactError, match="fails its checksum"):
            read()


def test_pages_are_checked_in_every_group(path):
    uri = write(path, count=2 * ROWS_PER_GROUP, size=2 * BLOCK // ROWS_PER_GROUP)
    flip_in_page(path, group=1, column=2)

    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        list(read_rows(uri))
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        check_whole(uri)


def test_a_flipped_bit_at_any_position_is_found(path):
    uri = write(path, metadata={"config": "x" * 300})
    content = path.read_bytes()
    for position in range(len(content)):
        flip(path, position, bit=position % 8)
        assert_broken_or_equal(uri)
        path.write_bytes(content)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 12, 100, 400, -1])
def test_a_file_that_was_cut_is_broken(path, length):
    uri = write(path)
    path.write_bytes(path.read_bytes()[:length])
    for read in READS:
        with pytest.raises(BrokenArtifactError):
            read(uri)


def assert_broken_or_equal(uri):
    """Check that reading the whole file finds damage; only damage to the name of the seal itself is harmless."""
    try:
        check_whole(uri)
        found, footer = read_table(uri).to_pylist(), read_footer(uri)
    except BrokenArtifactError:
        return
    assert (found, footer.metadata) == (rows(3), {"config": "x" * 300, "complete": "true"})


def test_a_file_that_lost_bytes_in_the_middle_is_broken(path):
    uri = write(path)
    content = path.read_bytes()
    path.write_bytes(content[:200] + content[210:])
    for read in READS:
        with pytest.raises(BrokenArtifactError, match="its size differs from the size in its footer"):
            read(uri)


def test_a_file_of_an_earlier_version_has_no_seal_and_is_read(path):
    pq.write_table(pa.Table.from_pylist(rows(3), schema=SCHEMA), path, write_page_checksum=True)
    assert read_table(str(path)).to_pylist() == rows(3)
    check_whole(str(path))
    flip_in_page(path, group=0, column=2)
    with pytest.raises(BrokenArtifactError, match="CRC checksum"):
        check_whole(str(path))


def test_the_error_for_missing_columns_names_them(path):
    uri = write(path)
    for read in (lambda names: read_table(uri, names), lambda names: list(read_rows(uri, names))):
        with pytest.raises(BrokenArtifactError) as caught:
            read(["size", "data", "colour"])
        assert str(caught.value) == (
            f"{uri} lacks the columns ['colour', 'size']: delete it and run again; clipes will rebuild it"
        )


@pytest.mark.parametrize("read", READS)
def test_a_missing_file_is_a_broken_artifact(path, read):
    with pytest.raises(BrokenArtifactError) as caught:
        read(str(path))
    assert str(caught.value) == f"{path} is missing: run again; clipes will rebuild it"
    assert (caught.value.uri, caught.value.reason) == (str(path), "is missing")


@pytest.mark.parametrize("read", READS)
def test_a_file_of_another_format_is_a_broken_artifact(path, read):
    path.write_bytes(b"GIF89a" * 30)
    with pytest.raises(BrokenArtifactError, match=rf"^{path} cannot be read \(.*\): delete it and run again"):
        read(str(path))


def test_a_folder_in_place_of_the_file_is_a_storage_error(path):
    path.mkdir()
    with pytest.raises(StorageError, match="repair it or choose another location"):
        read_footer(str(path))


def test_only_the_row_groups_of_the_wanted_photos_are_read(path):
    uri = write(path, count=4 * ROWS_PER_GROUP, size=2 * BLOCK)
    flip(path, 40 * BLOCK)  # in the first row group
    flip(path, -40 * BLOCK)  # in the last one

    found = read_table(uri, ["data", "image_id"], image_ids={"photo 70", "photo 130", "photo 131", "another"})

    assert found.column_names == ["data", "image_id"]
    assert found["image_id"].to_pylist() == ["photo 70", "photo 130", "photo 131"]
    assert read_table(uri, ["data"], image_ids={"another"}).num_rows == 0
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        read_table(uri, ["data"], image_ids={"photo 0"})


@pytest.fixture
def store(place):
    return ArtifactStore(place)


@pytest.fixture
def replaced_once(store, monkeypatch):
    """Let another run replace the artifact with one of five rows as soon as its footer has been read."""
    replacements = [5]

    def read_footer_and_replace(uri):
        footer = read_footer(uri)
        if replacements:
            small_artifacts.write(store, count=replacements.pop())
        return footer

    monkeypatch.setattr(reading, "read_footer", read_footer_and_replace)


def test_an_artifact_that_is_replaced_after_its_footer_was_read_is_not_broken(store):
    uri = small_artifacts.write(store, count=3)
    footer = read_footer(uri)
    small_artifacts.write(store, count=5)

    told = rf"{uri} was replaced by another run while it was being read: run again"
    for read in (lambda: read_table(uri, footer=footer), lambda: list(read_rows(uri, footer=footer))):
        with pytest.raises(ReplacedError, match=told):
            read()
    assert read_table(uri).num_rows == len(list(read_rows(uri))) == 5


def test_a_table_is_read_again_if_its_file_is_replaced_meanwhile(store, replaced_once):
    assert read_table(small_artifacts.write(store, count=3), ["data"]).num_rows == 5


def test_a_file_is_checked_again_if_it_is_replaced_meanwhile(store, replaced_once):
    check_whole(small_artifacts.write(store, count=3))


def test_a_stream_of_rows_never_continues_with_those_of_another_file(store, replaced_once):
    uri = small_artifacts.write(store, count=3)
    with pytest.raises(ReplacedError, match="was replaced by another run"):
        list(read_rows(uri))


def test_a_file_that_is_damaged_or_removed_after_its_footer_was_read_is_broken(path):
    uri = write(path, size=BLOCK)
    footer = read_footer(uri)
    flip_in_page(path, group=0, column=1)
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        read_table(uri, footer=footer)
    flip(path, -100)
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        read_table(uri, footer=footer)
    path.unlink()
    with pytest.raises(BrokenArtifactError, match="is missing"):
        read_table(uri, footer=footer)
