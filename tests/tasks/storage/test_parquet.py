import errno
import os
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damage import flip, flip_in_page

from clipes.tasks.storage.checksums.blocks import BLOCK
from clipes.tasks.storage.parquet import (
    READ_FIRST,
    ROWS_AT_ONCE,
    ArtifactWriter,
    check_whole,
    open_parquet,
    read_footer,
    read_rows,
    read_table,
    translate_parquet_errors,
)
from clipes_core.errors import BrokenArtifactError, StorageError

SCHEMA = pa.schema([("image_id", pa.string()), ("data", pa.binary()), ("sizes", pa.list_(pa.int16()))])
FULL = Path("/dev/full")  # every write to this file fails with "disk full"
READS = [read_footer, read_table, lambda uri: list(read_rows(uri)), check_whole]


def rows(count, size=50):
    noise = np.random.default_rng(0)
    return [{"image_id": f"photo {i}", "data": noise.bytes(size), "sizes": [i, 2]} for i in range(count)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


def write(path, count=3, complete=True, metadata=None, size=50, **added):
    writer = ArtifactWriter(str(path), path, SCHEMA, metadata or {})
    for row in rows(count, size):
        writer.write(row)
    writer.complete = complete
    writer.add_metadata(added)
    writer.close()
    return str(path)


def test_rows_are_written_and_read_in_groups_to_limit_memory(path):
    uri = write(path, count=2 * ROWS_AT_ONCE + 2)

    with pq.ParquetFile(uri) as parquet:
        sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    assert ROWS_AT_ONCE == 64
    assert sizes == [64, 64, 2]
    assert list(read_rows(uri)) == read_table(uri).to_pylist() == rows(130)


def test_groups_are_written_while_rows_arrive(path):
    writer = ArtifactWriter(str(path), path, SCHEMA, {})
    sizes = [path.stat().st_size]
    for row in rows(ROWS_AT_ONCE):
        writer.write(row)
        sizes.append(path.stat().st_size)
    writer.close()
    assert len(set(sizes[:-1])) == 1
    assert sizes[-1] - sizes[0] > ROWS_AT_ONCE * 50


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


def test_an_artifact_without_rows_has_its_columns(path):
    uri = write(path, 0)
    assert read_table(uri).schema.equals(SCHEMA)
    assert (list(read_rows(uri)), read_footer(uri).rows) == ([], 0)


def test_an_abandoned_file_is_not_an_artifact(path):
    writer = ArtifactWriter(str(path), path, SCHEMA, {})
    writer.write(rows(1)[0])
    writer.abandon()
    assert "complete" not in read_footer(str(path)).metadata


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux")
def test_a_full_disk_is_a_storage_error():
    with pytest.raises(StorageError, match=r"^/store/a\.parquet: the disk is full \(No space left on device\)"):
        ArtifactWriter("/store/a.parquet", FULL, SCHEMA, {})


@pytest.fixture
def limit_file_size():
    """Yield a function that stops this process from writing files larger than 1 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_fails_the_write(path, limit_file_size):
    writer = ArtifactWriter("/store/a.parquet", path, SCHEMA, {})
    for row in rows(ROWS_AT_ONCE - 1):
        writer.write(row)
    limit_file_size()
    with pytest.raises(StorageError, match=r"^/store/a\.parquet: a file exceeds the limit .*: raise"):
        writer.write(rows(1)[0])


def test_a_full_disk_fails_close_but_not_abandon(path, limit_file_size):
    ended, abandoned = (ArtifactWriter(str(path), path.with_name(name), SCHEMA, {}) for name in "ab")
    for writer in (ended, abandoned):
        for row in rows(ROWS_AT_ONCE):
            writer.write(row)
    limit_file_size()
    with pytest.raises(StorageError, match="File too large"):
        ended.close()
    abandoned.abandon()


def test_only_the_blocks_that_are_read_are_checked(path):
    uri = write(path, size=BLOCK)
    flip_in_page(path, group=0, column=2)

    assert read_table(uri, ["image_id"]).num_rows == 3
    assert list(read_rows(uri, ["image_id"]))[2] == {"image_id": "photo 2"}
    for read in (lambda: read_table(uri, ["sizes"]), lambda: list(read_rows(uri, ["sizes"])), lambda: check_whole(uri)):
        with pytest.raises(BrokenArtifactError, match="fails its checksum"):
            read()


def test_pages_are_checked_in_every_group(path):
    uri = write(path, count=2 * ROWS_AT_ONCE, size=2 * BLOCK // ROWS_AT_ONCE)
    flip_in_page(path, group=1, column=2)

    read = read_rows(uri)
    assert [next(read)["image_id"] for _ in range(ROWS_AT_ONCE)][-1] == "photo 63"
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        next(read)
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        check_whole(uri)


def test_a_flipped_bit_at_any_position_is_found(path):
    uri = write(path, metadata={"config": "x" * 300})
    content = path.read_bytes()
    for position in range(len(content)):
        flip(path, position, bit=position % 8)
        assert_broken_or_equal(uri)
        path.write_bytes(content)


def assert_broken_or_equal(uri):
    """Check that reading the whole file finds damage; only damage to the name of the seal itself is harmless."""
    try:
        check_whole(uri)
        found, footer = read_table(uri).to_pylist(), read_footer(uri)
    except BrokenArtifactError:
        return
    assert (found, footer.metadata) == (rows(3), {"config": "x" * 300, "complete": "true"})


@pytest.mark.parametrize("length", [0, 1, 7, 8, 12, 100, 400, -1])
def test_a_file_that_was_cut_is_broken(path, length):
    uri = write(path)
    path.write_bytes(path.read_bytes()[:length])
    for read in READS:
        with pytest.raises(BrokenArtifactError):
            read(uri)


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


def test_a_footer_longer_than_the_first_read_is_read_whole(path):
    uri = write(path, metadata={"config": "x" * 2 * READ_FIRST})
    assert len(read_footer(uri).metadata["config"]) == 2 * READ_FIRST
    assert read_table(uri).to_pylist() == rows(3)


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
    with pytest.raises(StorageError, match="repair it or choose another location"), open_parquet(str(path)):
        pass


@pytest.mark.parametrize(
    "error",
    [pa.ArrowInvalid("bad magic"), pa.ArrowNotImplementedError("odd"), OSError("bad checksum"), KeyError("a"), b"\xff"],
)
def test_errors_in_the_content_name_the_file(error):
    def fail():
        if isinstance(error, bytes):
            error.decode()
        raise error

    with (
        pytest.raises(BrokenArtifactError, match=r"^a cannot be read \("),
        translate_parquet_errors("a"),
    ):
        fail()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, os.strerror(errno.EIO)), PermissionError("no"), MemoryError(), RuntimeError("no threads")],
)
def test_errors_of_the_host_are_not_reported_as_broken_content(error):
    with pytest.raises(type(error)) as caught, translate_parquet_errors("a"):
        raise error
    assert caught.value is error
