import os
import pickle
import shutil
import struct
import time
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damage import flip, flip_in_page

from clipes.tasks.storage.artifact_store import ArtifactKey, ArtifactStore, weights_uri
from clipes.tasks.storage.parquet import ROWS_AT_ONCE
from clipes_core.errors import ArtifactError, StorageError

KEY = ArtifactKey("masks", "5" * 16, 7, "c" * 16)
SCHEMA = pa.schema([("image_id", pa.string()), ("data", pa.binary()), ("sizes", pa.list_(pa.int16()))])
METADATA = {"config": '{"name": "kö"}', "version": "0.1.0"}


@pytest.fixture(params=["path", "file", "memory", "s3"])
def store(request, tmp_path):
    """A store on each kind of file system, its name with spaces and other letters."""
    folder = tmp_path / "mein läger"
    uris = {"path": str(folder), "file": f"file://{folder}", "memory": f"memory://{uuid.uuid4()}/mein läger"}
    if request.param == "s3":
        return ArtifactStore(f"{request.getfixturevalue('s3_folder')}/mein läger")
    return ArtifactStore(uris[request.param])


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))


def rows(count):
    noise = np.random.default_rng(0)
    return [{"image_id": f"photo {i}", "data": noise.bytes(50), "sizes": [i, 2]} for i in range(count)]


def write(store, key=KEY, count=3, complete=True):
    with store.writer(key, SCHEMA, METADATA) as artifact:
        for row in rows(count):
            artifact.write(row)
        artifact.complete = complete
    return store.artifact_uri(key)


def names(store):
    """All files of a store, temporary ones too."""
    fs, folder = fsspec.core.url_to_fs(store.uri)
    return sorted(path.rpartition("/")[2] for path in fs.find(folder))


def path_of(store, key=KEY):
    """A local artifact's file."""
    return Path(store.artifact_uri(key))


def footer_length(path):
    return struct.unpack("<I", path.read_bytes()[-8:-4])[0]


def test_what_was_written_is_read_again(store):
    uri = write(store)

    assert store.read(uri).to_pylist() == rows(3)
    assert list(store.read_rows(uri)) == rows(3)
    assert store.read(uri, ["image_id"]).to_pydict() == {"image_id": ["photo 0", "photo 1", "photo 2"]}
    assert list(store.read_rows(uri, ["sizes"])) == [{"sizes": [0, 2]}, {"sizes": [1, 2]}, {"sizes": [2, 2]}]


def test_an_artifact_is_one_file_whose_name_says_shard_and_content(store):
    uri = write(store)

    assert uri == f"{store.uri}/artifacts/masks/{'5' * 16}/007-{'c' * 16}.parquet"
    assert names(store) == [f"007-{'c' * 16}.parquet"]


def test_footer_tells_key_config_version_and_completeness(store):
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


def test_metadata_is_there_for_other_readers_too(local):
    metadata = pq.read_metadata(write(local)).metadata
    assert metadata[b"clipes.stage"] == b"masks"
    assert metadata[b"clipes.complete"] == b"true"


def test_a_store_uri_may_end_with_a_slash(tmp_path):
    assert ArtifactStore(f"{tmp_path}/").artifact_uri(KEY) == ArtifactStore(str(tmp_path)).artifact_uri(KEY)


def test_a_relative_store_lies_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ArtifactStore("./a store")

    uri = write(store)

    assert (tmp_path / uri).is_file()
    assert store.is_complete(KEY, 3)
    assert [ArtifactStore("a store").footer(found).rows for found in store.shard_artifacts("masks", "5" * 16, 7)] == [3]


def test_a_store_can_be_sent_to_another_process(store):
    uri = write(store)
    assert pickle.loads(pickle.dumps(store)).read(uri).num_rows == 3


def test_an_artifact_is_complete_for_its_own_key_and_row_count_only(store):
    write(store)

    assert store.is_complete(KEY, 3)
    assert not store.is_complete(KEY, 4)
    assert not store.is_complete(ArtifactKey("masks", "5" * 16, 8, "c" * 16), 3)


@pytest.mark.parametrize("other", [("cams", "5" * 16, 7), ("masks", "6" * 16, 7)])
def test_an_artifact_under_another_keys_name_counts_as_missing(local, other):
    write(local)
    key = ArtifactKey(*other, "c" * 16)
    path_of(local, key).parent.mkdir(parents=True)
    shutil.copy(path_of(local), path_of(local, key))

    assert not local.is_complete(key, 3)


def test_an_artifact_with_rows_to_try_again_is_not_complete(store):
    uri = write(store, complete=False)

    assert not store.is_complete(KEY, 3)
    assert store.footer(uri).metadata["complete"] == "false"
    assert store.read(uri).num_rows == 3


def test_an_artifact_without_rows_is_one(store):
    uri = write(store, count=0)
    assert store.is_complete(KEY, 0)
    assert store.read(uri).schema.names == SCHEMA.names


class StopError(Exception):
    """Something that goes wrong while an artifact is written."""


def stop_in_the_middle(store, error=StopError):
    with store.writer(KEY, SCHEMA, METADATA) as artifact:
        for row in rows(ROWS_AT_ONCE + 5):
            artifact.write(row)
        raise error


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
def test_an_error_leaves_nothing_behind(store, error):
    with pytest.raises(error):
        stop_in_the_middle(store, error)

    assert names(store) == []
    assert not store.is_complete(KEY, ROWS_AT_ONCE + 5)


def test_an_error_leaves_the_earlier_artifact_as_it_was(store):
    uri = write(store)

    with pytest.raises(StopError):
        stop_in_the_middle(store)

    assert store.read(uri).to_pylist() == rows(3)
    assert len(names(store)) == 1


def test_a_row_that_does_not_fit_the_schema_leaves_nothing_behind(store):
    with pytest.raises(pa.ArrowException), store.writer(KEY, SCHEMA, METADATA) as artifact:
        artifact.write({"image_id": "a", "data": b"", "sizes": ["many"]})
    assert names(store) == []


def test_a_second_writing_replaces_the_first(store):
    write(store, count=3)
    uri = write(store, count=5)

    assert store.is_complete(KEY, 5)
    assert store.read(uri).num_rows == 5


def test_rows_are_written_and_read_in_groups_that_bound_memory(local):
    uri = write(local, count=2 * ROWS_AT_ONCE + 2)

    with pq.ParquetFile(uri) as parquet:
        sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    assert ROWS_AT_ONCE == 64
    assert sizes == [64, 64, 2]
    assert list(local.read_rows(uri)) == rows(130)


def test_groups_appear_in_the_temporary_file_while_rows_come_in(local):
    with local.writer(KEY, SCHEMA, METADATA) as artifact:
        (temporary,) = path_of(local).parent.iterdir()
        before = temporary.stat().st_size
        for row in rows(ROWS_AT_ONCE):
            artifact.write(row)
        after = temporary.stat().st_size
    assert after - before > ROWS_AT_ONCE * 50


def test_a_flipped_bit_of_the_data_is_noticed_when_it_is_read(local):
    uri = write(local)
    flip_in_page(path_of(local), group=0, column=1)

    assert local.is_complete(KEY, 3)  # the cheap check reads the footer only
    with pytest.raises(ArtifactError, match=r"007-c+\.parquet cannot be read \(.*CRC checksum.*\): delete it and run"):
        local.read(uri)
    with pytest.raises(ArtifactError, match="CRC checksum"):
        list(local.read_rows(uri))


@pytest.mark.parametrize(("group", "column"), [(0, 0), (0, 2), (1, 1)])
def test_reading_all_of_it_finds_any_flipped_bit(local, caplog, group, column):
    uri, count = write(local, count=ROWS_AT_ONCE + 5), ROWS_AT_ONCE + 5
    assert local.is_complete(KEY, count, whole=True)
    flip_in_page(path_of(local), group, column)

    assert local.is_complete(KEY, count)
    assert caplog.messages == []
    assert not local.is_complete(KEY, count, whole=True)
    (message,) = caplog.messages
    assert message.startswith(f"{uri} cannot be read (")
    assert message.endswith("): it does not count and is made again")


def test_what_does_not_count_is_named_in_a_warning_where_something_is_there(local, caplog):
    assert not local.is_complete(KEY, 3)
    write(local, complete=False)
    assert not local.is_complete(KEY, 3)
    assert caplog.messages == []  # nothing is wrong with a missing artifact, nor with one to go on with

    uri = write(local)
    other = ArtifactKey("masks", "5" * 16, 7, "d" * 16)
    shutil.copy(uri, local.artifact_uri(other))
    assert not local.is_complete(KEY, 4)
    assert not local.is_complete(other, 3)
    assert caplog.messages == [
        f"{uri} has 3 rows, not 4: it does not count and is made again",
        f"{local.artifact_uri(other)} says of itself that it is another artifact: it does not count and is made again",
    ]


def test_only_the_columns_that_are_read_are_checked(local):
    uri = write(local)
    flip_in_page(path_of(local), group=0, column=2)

    assert local.read(uri, ["image_id"]).num_rows == 3
    with pytest.raises(ArtifactError, match="CRC checksum"):
        local.read(uri, ["sizes"])


def test_pages_are_checked_in_every_group(local):
    uri = write(local, count=ROWS_AT_ONCE + 1)
    flip_in_page(path_of(local), group=1, column=0)

    read = local.read_rows(uri)
    assert [next(read)["image_id"] for _ in range(ROWS_AT_ONCE)][-1] == "photo 63"
    with pytest.raises(ArtifactError, match="CRC checksum"):
        next(read)


def test_a_damaged_footer_never_ends_a_run(local):
    write(local)
    path = path_of(local)
    whole = path.read_bytes()
    found = set()
    for place in range(1, footer_length(path) + 9, 5):
        flip(path, -place, bit=place % 8)
        found.add(local.is_complete(KEY, 3))
        path.write_bytes(whole)
    assert found == {True, False}  # statistics and the like make no difference


@pytest.mark.parametrize("place", [-1, -5, -8])
def test_a_damaged_end_counts_as_missing(local, place):
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
    with pytest.raises(ArtifactError, match=r"cannot be read \(.*\): delete it and run again, and clipes rebuilds it"):
        local.read(uri)


@pytest.mark.parametrize("content", [b"GIF89a" * 30, b"<html>404</html>", b"\0" * 500])
def test_a_foreign_file_counts_as_missing(store, content):
    fs, path = fsspec.core.url_to_fs(write(store))
    fs.pipe_file(path, content)

    assert not store.is_complete(KEY, 3)
    with pytest.raises(ArtifactError, match="cannot be read"):
        list(store.read_rows(store.artifact_uri(KEY)))


def test_another_programs_parquet_counts_as_missing(local):
    uri = write(local)
    pq.write_table(pa.table({"image_id": ["a", "b", "c"]}), uri)

    assert not local.is_complete(KEY, 3)
    assert local.footer(uri).metadata == {}
    with pytest.raises(ArtifactError, match=r"lacks the columns \['data'\]: delete it and run again"):
        local.read(uri, ["image_id", "data"])
    with pytest.raises(ArtifactError, match="lacks the columns"):
        list(local.read_rows(uri, ["sizes"]))


def test_a_missing_artifact_is_told_so(store):
    uri = store.artifact_uri(KEY)

    assert not store.is_complete(KEY, 0)
    for read in (store.footer, store.read, lambda uri: list(store.read_rows(uri))):
        with pytest.raises(ArtifactError, match=r"007-c+\.parquet is missing: run again, and clipes rebuilds it"):
            read(uri)


def test_a_folder_in_an_artifacts_place_is_told_so_and_nothing_is_computed_for_it(local):
    path_of(local).mkdir(parents=True)
    with pytest.raises(StorageError, match="mend it, or name another place"):
        local.is_complete(KEY, 0)


def with_content(key, content_key):
    return ArtifactKey(key.stage, key.stage_key, key.shard, content_key * 16)


def test_artifacts_of_a_shard_are_listed_newest_first(local):
    for age, content_key in enumerate("bca"):
        path = write(local, with_content(KEY, content_key))
        os.utime(path, (1_700_000_000 - 0.5 * age, 1_700_000_000 - 0.5 * age))
    write(local, ArtifactKey("masks", "5" * 16, 70, "a" * 16))
    write(local, ArtifactKey("masks", "6" * 16, 7, "a" * 16))

    listed = local.shard_artifacts("masks", "5" * 16, 7)

    assert [uri.rpartition("/")[2] for uri in listed] == [f"007-{name * 16}.parquet" for name in "bca"]
    assert [local.read(uri).num_rows for uri in listed] == [3, 3, 3]


def test_newest_first_also_without_times_to_set(store):
    for content_key in "bca":
        write(store, with_content(KEY, content_key))
        if store.uri.startswith("s3://"):
            time.sleep(1)  # S3 tells times to the second

    listed = store.shard_artifacts("masks", "5" * 16, 7)
    assert [uri.rpartition("/")[2] for uri in listed] == [f"007-{name * 16}.parquet" for name in "acb"]
    assert all(store.read(uri).num_rows == 3 for uri in listed)


@pytest.mark.parametrize(("shard", "start"), [(0, "000-"), (999, "999-"), (1000, "1000-"), (99_999, "99999-")])
def test_shards_are_told_apart_however_many_there_are(local, shard, start):
    for each in (0, 9, 99, 100, 999, 1000, 99_999):
        write(local, ArtifactKey("masks", "5" * 16, each, "c" * 16))

    listed = local.shard_artifacts("masks", "5" * 16, shard)
    assert [uri.rpartition("/")[2] for uri in listed] == [f"{start}{'c' * 16}.parquet"]


def test_a_shard_without_artifacts_has_an_empty_list(store):
    assert store.shard_artifacts("masks", "5" * 16, 7) == []
    write(store)
    assert store.shard_artifacts("masks", "5" * 16, 8) == []


def test_a_file_that_is_being_written_is_not_listed(local):
    with local.writer(KEY, SCHEMA, METADATA):
        assert local.shard_artifacts("masks", "5" * 16, 7) == []
        assert not local.is_complete(KEY, 0)


def test_run_files_are_read_again(store):
    value = {"name": "läuf", "keys": [1, None, 0.5], "nested": {"ä": True}}
    table = pa.table({"image_id": ["ä", "b"], "class_ids": [[1], []]})

    store.write_run_json("my run", "run.json", value)
    store.write_run_table("my run", "status.parquet", table)

    assert store.read_run_json("my run", "run.json") == value
    assert store.read(store.run_uri("my run", "status.parquet")).to_pydict() == table.to_pydict()
    assert names(store) == ["run.json", "status.parquet"]
    assert store.run_names() == ["my run"]


def test_a_text_is_written_whole_in_utf_8(store):
    store.write_run_text("a", "report.html", "alt")
    store.write_run_text("a", "report.html", "neu: ä\n")
    fs, path = fsspec.core.url_to_fs(store.run_uri("a", "report.html"))
    assert fs.cat_file(path) == "neu: ä\n".encode()
    assert names(store) == ["report.html"]


def test_run_json_is_readable_text(local):
    local.write_run_json("a", "run.json", {"name": "läuf"})
    assert Path(local.run_uri("a", "run.json")).read_text() == '{\n  "name": "läuf"\n}\n'


def test_a_value_that_json_has_no_word_for_leaves_the_old_file(store):
    store.write_run_json("a", "metrics.json", {"miou": 0.5})

    with pytest.raises(ValueError, match="nan"):
        store.write_run_json("a", "metrics.json", {"miou": float("nan")})

    assert store.read_run_json("a", "metrics.json") == {"miou": 0.5}
    assert names(store) == ["metrics.json"]


def test_a_run_without_files_is_told_so(store):
    assert store.read_run_json("nobody", "run.json") is None
    assert store.run_file("nobody", "run.json") is None
    assert store.run_names() == []


def test_a_run_json_cut_short_is_told_so(store):
    store.write_run_json("a", "run.json", {})
    fs, path = fsspec.core.url_to_fs(store.run_uri("a", "run.json"))
    fs.pipe_file(path, b'{"name": "a')

    with pytest.raises(ArtifactError, match=r"run\.json is not JSON \(.*\): delete it and run again"):
        store.read_run_json("a", "run.json")


def test_archived_files_move_to_the_runs_history(store):
    for file in ("run.json", "metrics.json"):
        store.write_run_json("a", file, {"file": file})

    store.archive_run("a", "2026-11-22", ["run.json", "metrics.json", "status.parquet"])

    assert store.run_file("a", "run.json") is None
    assert store.read_run_json("a", "history/2026-11-22/metrics.json") == {"file": "metrics.json"}
    assert names(store) == ["metrics.json", "run.json"]
    assert store.run_names() == ["a"]


def test_a_store_beneath_a_file_is_told_so(tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = ArtifactStore(str(tmp_path / "file" / "store"))

    told = r" cannot be used \(.*Not a directory.*\); mend it, or name another place"
    with pytest.raises(StorageError, match=r"run\.json" + told):
        store.read_run_json("a", "run.json")
    with pytest.raises(StorageError, match=r"run\.json" + told):
        store.write_run_json("a", "run.json", {})
    with pytest.raises(StorageError, match=r"parquet" + told):
        write(store)
    with pytest.raises(StorageError, match=r"parquet" + told):
        store.is_complete(KEY, 3)
    with pytest.raises(StorageError, match="5" * 16 + told):
        store.shard_artifacts("masks", "5" * 16, 7)


def test_a_folder_in_a_run_files_place_is_told_so_and_nothing_stays(local):
    Path(local.run_uri("a", "run.json")).mkdir(parents=True)

    with pytest.raises(StorageError, match="cannot be used"):
        local.write_run_json("a", "run.json", {})
    assert names(local) == []


def test_any_other_file_of_a_run_appears_whole(store):
    store.write_run_bytes("seen", "plot.png", b"\x89PNG")
    fs, path = fsspec.url_to_fs(store.run_uri("seen", "plot.png"))
    assert fs.cat_file(path) == b"\x89PNG"
    assert [Path(name).name for name in fs.ls(path.rpartition("/")[0], detail=False)] == ["plot.png"]


def test_weights_lie_beside_their_artifact():
    assert weights_uri("s3://b/artifacts/segmenter/k/000-c.parquet") == "s3://b/artifacts/segmenter/k/000-c.safetensors"
