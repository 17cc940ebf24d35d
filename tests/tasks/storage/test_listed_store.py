import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from s3fs import S3FileSystem
from support.s3_traffic import s3_traffic
from support.small_artifacts import KEY, METADATA, with_content, write

from clipes.tasks.stages.masks import MASKS
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.checksums.weights import describe_weights
from clipes.tasks.storage.files import write_file
from clipes.tasks.storage.layout import ArtifactKey, weights_uri
from clipes.tasks.storage.listed_store import ListedStore

OF_STAGE = ("masks", "5" * 16)
DIGESTS = ["image_id", "input_digest", "output_digest"]


@pytest.fixture
def store(place):
    return ArtifactStore(place)


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))


def test_artifacts_of_a_shard_are_listed_newest_first(local):
    for age, content_key in enumerate("bca"):
        path = write(local, with_content(KEY, content_key))
        os.utime(path, (1_700_000_000 - 0.5 * age, 1_700_000_000 - 0.5 * age))
    write(local, ArtifactKey("masks", "5" * 16, 70, "a" * 16))
    write(local, ArtifactKey("masks", "6" * 16, 7, "a" * 16))

    listed = ListedStore(local.uri).shard_artifacts("masks", "5" * 16, 7)

    assert [uri.rpartition("/")[2] for uri in listed] == [f"007-{name * 16}.parquet" for name in "bca"]
    assert [local.read(uri).num_rows for uri in listed] == [3, 3, 3]


def test_artifacts_are_listed_newest_first_on_every_file_system(store):
    for content_key in "bca":
        write(store, with_content(KEY, content_key))
        if store.uri.startswith("s3://"):
            time.sleep(1)  # S3 reports times to the second

    listed = ListedStore(store.uri).shard_artifacts("masks", "5" * 16, 7)
    assert [uri.rpartition("/")[2] for uri in listed] == [f"007-{name * 16}.parquet" for name in "acb"]
    assert all(store.read(uri).num_rows == 3 for uri in listed)


def test_the_shards_with_an_artifact_are_listed_on_every_file_system(store):
    assert ListedStore(store.uri).stored_shards("masks", "5" * 16) == set()
    for shard, content_key in ((7, "a"), (7, "b"), (1000, "a")):
        write(store, ArtifactKey("masks", "5" * 16, shard, content_key * 16))
    write(store, ArtifactKey("masks", "6" * 16, 8, "a" * 16))
    assert ListedStore(store.uri).stored_shards("masks", "5" * 16) == {7, 1000}


@pytest.mark.parametrize(("shard", "start"), [(0, "000-"), (999, "999-"), (1000, "1000-"), (99_999, "99999-")])
def test_shards_are_distinguished_for_any_number_of_digits(local, shard, start):
    for each in (0, 9, 99, 100, 999, 1000, 99_999):
        write(local, ArtifactKey("masks", "5" * 16, each, "c" * 16))

    listed = ListedStore(local.uri).shard_artifacts("masks", "5" * 16, shard)
    assert [uri.rpartition("/")[2] for uri in listed] == [f"{start}{'c' * 16}.parquet"]


def test_a_shard_without_artifacts_has_an_empty_list(store):
    assert ListedStore(store.uri).shard_artifacts("masks", "5" * 16, 7) == []
    write(store)
    assert ListedStore(store.uri).shard_artifacts("masks", "5" * 16, 8) == []


def test_a_store_is_listed_once(local):
    write(local)
    listed = ListedStore(local.uri)
    assert listed.is_complete(KEY, 3)
    write(local, other := with_content(KEY, "d"))

    assert not listed.is_complete(other, 3)
    assert listed.shard_artifacts(*OF_STAGE, 7) == [local.artifact_uri(KEY)]
    assert ListedStore(local.uri).is_complete(other, 3)


def test_an_artifact_that_another_run_has_made_since_is_found_if_it_is_asked_for(store):
    listed = ListedStore(store.uri)
    assert listed.stored_shards(*OF_STAGE) == set()
    assert not listed.find_new(KEY)
    write(store)

    assert listed.find_new(KEY)
    assert not listed.find_new(KEY)  # it is not new any more
    assert listed.is_complete(KEY, 3)


def test_an_artifact_of_the_run_itself_is_known_until_it_is_discarded(local):
    listed = ListedStore(local.uri)
    assert listed.stored_shards(*OF_STAGE) == set()
    uri = write(local)

    listed.add(uri)
    assert listed.is_complete(KEY, 3)
    listed.discard(uri)
    assert not listed.is_complete(KEY, 3)
    assert listed.stored_shards(*OF_STAGE) == set()


def test_an_artifact_that_is_written_again_is_read_again(local):
    uri = write(local, complete=False)
    listed = ListedStore(local.uri)
    assert not listed.is_complete(KEY, 3)
    write(local, count=200)  # which changes its size, too

    listed.add(uri)
    assert listed.is_complete(KEY, 200)


def test_an_artifact_that_another_run_replaces_is_read_again(store):
    uri = write(store)
    listed = ListedStore(store.uri)
    assert listed.is_complete(KEY, 3)  # keeps the footer
    write(store, count=5)

    assert listed.read(uri, ["data"]).num_rows == 5
    assert listed.footer(uri).rows == 5


def test_a_segmenter_that_another_run_replaces_stays_complete(store):
    def train(weights):
        write_file(weights_uri(uri), weights)
        with store.writer(KEY, MASKS.schema, {**METADATA, "weights": describe_weights(uri)}):
            pass

    uri = store.artifact_uri(KEY)
    train(b"0123")
    listed = ListedStore(store.uri)
    assert listed.is_complete(KEY, 0, whole=True)
    train(b"01234567")

    assert listed.is_complete(KEY, 0)
    assert listed.footer(uri).metadata["weights"].startswith("8 ")


def test_a_listed_size_that_is_out_of_date_does_no_harm(local):
    write(local)
    listed = ListedStore(local.uri)
    assert listed.stored_shards(*OF_STAGE) == {7}
    write(local, count=200)
    assert listed.is_complete(KEY, 200)


def test_a_file_beside_an_artifact_is_discarded_alone(local):
    uri = write(local)
    beside = Path(uri).with_suffix(".checkpoints") / "best.pt"
    beside.parent.mkdir()
    beside.touch()
    listed = ListedStore(local.uri)
    assert listed.stored_shards(*OF_STAGE) == {7}

    listed.discard(str(beside))

    assert not beside.exists()
    assert listed.is_complete(KEY, 3)


def test_a_file_that_is_being_written_is_not_listed(local):
    with local.writer(KEY, MASKS.schema, METADATA):
        assert ListedStore(local.uri).shard_artifacts(*OF_STAGE, 7) == []


def test_a_worker_gets_a_plain_store(local):
    sent = pickle.loads(pickle.dumps(ListedStore(local.uri)))
    assert (type(sent), sent.uri) == (ArtifactStore, local.uri)


@pytest.fixture
def traffic(s3, s3_folder, monkeypatch):
    """Count the requests to S3, and the bytes that it sends."""
    with s3_traffic(s3.url) as traffic:
        monkeypatch.setenv("AWS_ENDPOINT_URL", traffic.url)
        S3FileSystem.clear_instance_cache()
        yield traffic


def write_masks(store, shard, count, digits="c"):
    """Write an artifact with masks of 4 kB, and return its key."""
    key, noise = ArtifactKey("masks", "5" * 16, shard, digits * 16), np.random.default_rng(0)
    with store.writer(key, MASKS.schema, METADATA) as artifact:
        for number in range(count):
            digests = dict.fromkeys(DIGESTS[1:], f"{shard * count + number:016x}")
            artifact.write({"image_id": f"photo {number}", "status": "ok", "mask_png": noise.bytes(4000), **digests})
    return key


def test_all_that_a_plan_needs_of_an_artifact_is_one_request(traffic, s3_folder):
    keys = [write_masks(ArtifactStore(s3_folder), shard, 1000) for shard in range(3)]
    size = ArtifactStore(s3_folder).read(ArtifactStore(s3_folder).artifact_uri(keys[0])).nbytes
    traffic.reset()

    store = ListedStore(s3_folder)
    for key in keys:
        assert store.is_complete(key, 1000)
        uri = store.artifact_uri(key)
        assert store.read(uri, DIGESTS)["output_digest"][1].as_py() == f"{key.shard * 1000 + 1:016x}"
        assert store.read(uri, ["status", "error"])["status"].to_pylist() == ["ok"] * 1000

    assert traffic.requests == {"GET": 1 + len(keys)}  # the first one lists the folder
    assert size > 4_000_000
    assert traffic.received < 140_000 * len(keys)


def test_a_column_that_the_index_lacks_is_read_without_the_large_columns(traffic, s3_folder):
    uri = ArtifactStore(s3_folder).artifact_uri(write_masks(ArtifactStore(s3_folder), 0, 1000))
    traffic.reset()
    assert ArtifactStore(s3_folder).read(uri, ["image_id", "class_ids"]).num_rows == 1000
    assert traffic.received < 2_500_000  # of 4 MB, because blocks of 64 kB are verified
