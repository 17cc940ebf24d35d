import pickle
import shutil
import struct

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damage import flip, flip_in_page
from support.small_artifacts import KEY, METADATA, SCHEMA, path_of, rows, write

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.listed_store import ListedStore
from clipes.tasks.storage.parquet.writing import ROWS_PER_GROUP
from clipes_core.errors import ArtifactError, BrokenArtifactError, StorageError


@pytest.fixture
def store(place):
    return ArtifactStore(place)


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))


def names(store):
    """Return the names of all files of a store, including temporary ones."""
    fs, folder = fsspec.core.url_to_fs(store.uri)
    return sorted(path.rpartition("/")[2] for path in fs.find(folder))


def footer_length(path):
    return struct.unpack("<I", path.read_bytes()[-8:-4])[0]


def test_written_rows_can_be_read(store):
    uri = write(store)

    assert store.read(uri).to_pylist() == rows(3)
    assert list(store.read_rows(uri)) == rows(3)
    assert store.read(uri, ["image_id"]).to_pydict() == {"image_id": ["photo 0", "photo 1", "photo 2"]}
    assert list(store.read_rows(uri, ["sizes"])) == [{"sizes": [0, 2]}, {"sizes": [1, 2]}, {"sizes": [2, 2]}]


def test_an_artifact_is_one_file_named_by_shard_and_content_key(store):
    uri = write(store)

    assert uri == f"{store.uri}/artifacts/masks/{'5' * 16}/007-{'c' * 16}.parquet"
    assert names(store) == [f"007-{'c' * 16}.parquet"]


def test_the_footer_holds_key_config_version_and_completeness(store):
    uri = write(store)

    footer = store.footer(uri)
    assert footer.rows == 3
    assert footer.metadata == {
        "stage": "masks",
        "stage_key": "5" * 16,
        "content_key": "c" * 16,
        "config": '{"name": "kö"}',
        "version": "0.1.0",
        "complete": "true",
    }


def test_a_store_uri_may_end_with_a_slash(tmp_path):
    assert ArtifactStore(f"{tmp_path}/").artifact_uri(KEY) == ArtifactStore(str(tmp_path)).artifact_uri(KEY)


def test_a_relative_store_lies_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ArtifactStore("./a store")

    uri = write(store)

    assert (tmp_path / uri).is_file()
    assert store.is_complete(KEY, 3)
    listed = ListedStore("a store").shard_artifacts("masks", "5" * 16, 7)
    assert [ArtifactStore("a store").footer(found).rows for found in listed] == [3]


def test_a_store_can_be_sent_to_another_process(store):
    uri = write(store)
    assert pickle.loads(pickle.dumps(store)).read(uri).num_rows == 3


def test_an_artifact_is_complete_only_for_its_own_key_and_row_count(store):
    write(store)

    assert store.is_complete(KEY, 3)
    assert not store.is_complete(KEY, 4)
    assert not store.is_complete(ArtifactKey("masks", "5" * 16, 8, "c" * 16), 3)


@pytest.mark.parametrize("other", [("cams", "5" * 16, 7), ("masks", "6" * 16, 7)])
def test_an_artifact_under_the_name_of_another_key_counts_as_missing(local, other):
    write(local)
    key = ArtifactKey(*other, "c" * 16)
    path_of(local, key).parent.mkdir(parents=True)
    shutil.copy(path_of(local), path_of(local, key))

    assert not local.is_complete(key, 3)


def test_an_artifact_with_rows_to_retry_is_not_complete(store):
    uri = write(store, complete=False)

    assert not store.is_complete(KEY, 3)
    assert store.footer(uri).metadata["complete"] == "false"
    assert store.read(uri).num_rows == 3


def test_an_artifact_without_rows_is_complete(store):
    uri = write(store, count=0)
    assert store.is_complete(KEY, 0)
    assert store.read(uri).schema.names == SCHEMA.names


class StopError(Exception):
    """An error raised while an artifact is being written."""


def stop_in_the_middle(store, error=StopError):
    with store.writer(KEY, SCHEMA, METADATA) as artifact:
        for row in rows(ROWS_PER_GROUP + 5):
            artifact.write(row)
        raise error


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_no_file(store, error):
    with pytest.raises(error):
        stop_in_the_middle(store, error)

    assert names(store) == []
    assert not store.is_complete(KEY, ROWS_PER_GROUP + 5)


def test_an_error_while_writing_leaves_the_earlier_artifact_intact(store):
    uri = write(store)

    with pytest.raises(StopError):
        stop_in_the_middle(store)

    assert store.read(uri).to_pylist() == rows(3)
    assert len(names(store)) == 1


def test_a_row_that_does_not_fit_the_schema_leaves_no_file(store):
    with pytest.raises(pa.ArrowException), store.writer(KEY, SCHEMA, METADATA) as artifact:
        artifact.write({"image_id": "a", "data": b"", "sizes": ["many"]})
    assert names(store) == []


def test_writing_an_artifact_again_replaces_it(store):
    write(store, count=3)
    uri = write(store, count=5)

    assert store.is_complete(KEY, 5)
    assert store.read(uri).num_rows == 5


def test_reading_detects_a_flipped_bit(local):
    uri = write(local)
    flip_in_page(path_of(local), group=0, column=1)

    assert local.is_complete(KEY, 3)  # the cheap check only reads the footer
    with pytest.raises(ArtifactError, match=r"007-c+\.parquet cannot be read \(it fails its checksum\): delete it"):
        local.read(uri)
    with pytest.raises(ArtifactError, match="fails its checksum"):
        list(local.read_rows(uri))


@pytest.mark.parametrize(("group", "column"), [(0, 0), (0, 2), (1, 1)])
def test_the_full_check_detects_any_flipped_bit(local, caplog, group, column):
    uri, count = write(local, count=ROWS_PER_GROUP + 5), ROWS_PER_GROUP + 5
    assert local.is_complete(KEY, count, whole=True)
    flip_in_page(path_of(local), group, column)

    assert local.is_complete(KEY, count)
    assert caplog.messages == []
    assert not local.is_complete(KEY, count, whole=True)
    (message,) = caplog.messages
    assert message.startswith(f"{uri} cannot be read (")
    assert message.endswith("): clipes ignores it and rebuilds it")


def test_broken_and_foreign_artifacts_are_logged_but_missing_ones_are_not(local, caplog):
    assert not local.is_complete(KEY, 3)
    write(local, complete=False)
    assert not local.is_complete(KEY, 3)
    assert caplog.messages == []  # neither a missing nor an incomplete artifact is an error

    uri = write(local)
    other = ArtifactKey("masks", "5" * 16, 7, "d" * 16)
    shutil.copy(uri, local.artifact_uri(other))
    assert not local.is_complete(KEY, 4)
    assert not local.is_complete(other, 3)
    assert caplog.messages == [
        f"{uri} has 3 rows, expected 4: clipes ignores it and rebuilds it",
        f"{local.artifact_uri(other)} carries the key of a different artifact: clipes ignores it and rebuilds it",
    ]


def test_checking_a_damaged_footer_never_raises(local):
    write(local)
    path = path_of(local)
    whole = path.read_bytes()
    found = set()
    for place in range(1, footer_length(path) + 9, 5):
        flip(path, -place, bit=place % 8)
        found.add(local.is_complete(KEY, 3))
        path.write_bytes(whole)
    assert found == {True, False}  # a flipped bit in the statistics goes unnoticed


@pytest.mark.parametrize("place", [-1, -5, -8])
def test_an_artifact_with_a_damaged_end_counts_as_missing(local, place):
    uri = write(local)
    flip(path_of(local), place)

    assert not local.is_complete(KEY, 3)
    with pytest.raises(ArtifactError, match="cannot be read"):
        local.footer(uri)


@pytest.mark.parametrize("length", [0, 1, 4, 100, -1, -8, -200])
def test_a_truncated_artifact_counts_as_missing(local, length):
    uri = write(local)
    path_of(local).write_bytes(path_of(local).read_bytes()[:length])

    assert not local.is_complete(KEY, 3)
    with pytest.raises(ArtifactError, match=r"cannot be read \(.*\): delete it and run again; clipes will rebuild it"):
        local.read(uri)


@pytest.mark.parametrize("content", [b"GIF89a" * 30, b"<html>404</html>", b"\0" * 500])
def test_a_foreign_file_counts_as_missing(store, content):
    fs, path = fsspec.core.url_to_fs(write(store))
    fs.pipe_file(path, content)

    assert not store.is_complete(KEY, 3)
    with pytest.raises(ArtifactError, match="cannot be read"):
        list(store.read_rows(store.artifact_uri(KEY)))


def test_a_parquet_file_of_another_program_counts_as_missing(local):
    uri = write(local)
    pq.write_table(pa.table({"image_id": ["a", "b", "c"]}), uri)

    assert not local.is_complete(KEY, 3)
    assert local.footer(uri).metadata == {}


def test_the_error_for_a_missing_artifact_says_that_it_is_missing(store):
    uri = store.artifact_uri(KEY)

    assert not store.is_complete(KEY, 0)
    for read in (store.footer, store.read, lambda uri: list(store.read_rows(uri))):
        with pytest.raises(ArtifactError, match=r"007-c+\.parquet is missing: run again; clipes will rebuild it"):
            read(uri)


def test_a_folder_in_place_of_an_artifact_is_an_error(local):
    path_of(local).mkdir(parents=True)
    with pytest.raises(StorageError, match="repair it or choose another location"):
        local.is_complete(KEY, 0)


def test_a_file_that_is_being_written_is_not_complete(local):
    with local.writer(KEY, SCHEMA, METADATA):
        assert not local.is_complete(KEY, 0)


def test_a_store_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = ArtifactStore(str(tmp_path / "file" / "store"))

    told = r" cannot be used \(.*Not a directory.*\); a file is where a folder must be: move it or choose another"
    with pytest.raises(StorageError, match=r"parquet" + told):
        write(store)
    with pytest.raises(StorageError, match=r"parquet" + told):
        store.is_complete(KEY, 3)
    with pytest.raises(StorageError, match="5" * 16 + told):
        ListedStore(store.uri).shard_artifacts("masks", "5" * 16, 7)


def test_a_copy_of_another_artifact_is_never_read(local):
    uri, other = write(local), ArtifactKey("masks", "5" * 16, 8, "d" * 16)
    write(local, other)
    path_of(local).write_bytes(path_of(local, other).read_bytes())
    for read in (local.read, local.footer, local.check_whole, lambda uri: list(local.read_rows(uri))):
        with pytest.raises(BrokenArtifactError, match="carries the key of a different artifact"):
            read(uri)
