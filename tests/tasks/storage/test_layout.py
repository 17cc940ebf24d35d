import posixpath

import pytest

from clipes.tasks.storage.layout import (
    ArtifactKey,
    ArtifactPath,
    archive_index_uri,
    artifact_of,
    artifact_uri,
    checkpoints_uri,
    history_folder,
    is_part,
    is_temporary,
    location_in,
    new_part_uri,
    parts_prefix,
    row_of,
    row_uri,
    row_uri_in,
    run_uri,
    shard_of_name,
    temporary_name,
    uri_in,
    version_key_of,
    weights_uri,
)

KEY = ArtifactKey("segmenter", "5" * 16, 7, "c" * 16)
URI = f"s3://bucket/a store/artifacts/segmenter/{'5' * 16}/007-{'c' * 16}.parquet"


def test_the_uri_of_an_artifact_follows_from_its_key():
    assert artifact_uri("s3://bucket/a store/", KEY) == URI


def test_the_file_name_of_an_artifact_states_its_shard():
    for shard in (0, 7, 99_999):
        assert (
            shard_of_name(posixpath.basename(artifact_uri("s", ArtifactKey("cams", "a" * 16, shard, "b" * 16))))
            == shard
        )
    for name in (f"007-{'b' * 16}.safetensors", f".007-{'b' * 16}.parquet.{'c' * 32}.tmp", "007.parquet"):
        assert shard_of_name(name) is None


def test_weights_and_checkpoints_are_next_to_their_artifact():
    assert weights_uri(URI) == URI.replace(".parquet", ".safetensors")
    assert checkpoints_uri(URI) == URI.replace(".parquet", ".checkpoints")


def test_the_artifact_of_its_weights_and_checkpoints_is_found():
    expected = ArtifactPath("segmenter", "5" * 16, f"007-{'c' * 16}.parquet")
    checkpoints = [f"{checkpoints_uri(URI)}/{name}" for name in ("00000002.pt", "best.pt")]
    for uri in (URI, weights_uri(URI), *checkpoints):
        assert artifact_of(uri) == expected
        assert not is_part(uri)


def test_each_part_of_an_artifact_has_a_name_of_its_own():
    first, second = new_part_uri("s3://bucket/a store/", KEY), new_part_uri("s3://bucket/a store/", KEY)
    assert first != second
    for uri in (first, second):
        assert posixpath.dirname(uri) == posixpath.dirname(URI)
        assert posixpath.basename(uri).startswith(parts_prefix(KEY))
        assert is_part(uri)
        assert artifact_of(uri) == artifact_of(URI)
        assert shard_of_name(posixpath.basename(uri)) is None
    assert not is_part(f"{first}.bak")


@pytest.mark.parametrize(
    "uri",
    [
        URI.replace("/artifacts/", "/runs/"),
        f"{URI}.bak",
        URI.replace("007-", "07-"),
        URI.replace("c" * 16, "notes"),
        checkpoints_uri(URI),
        *(f"{checkpoints_uri(URI)}/{name}" for name in ("my_best.pt", "2.pt", "000000002.pt", "old/00000002.pt")),
        "s3://bucket/a store/runs/voc12/manifest.parquet",
        "",
    ],
)
def test_other_files_belong_to_no_artifact(uri):
    assert artifact_of(uri) is None


def test_the_uri_of_an_archive_index_states_the_version():
    uri = archive_index_uri("s3://bucket/a store/", "a" * 16, "b" * 16)
    assert uri == f"s3://bucket/a store/archive_indexes/{'a' * 16}-{'b' * 16}.parquet"
    assert version_key_of(uri) == "b" * 16
    for other in (URI, f"{uri}.bak", uri.replace("archive_indexes", "runs"), uri.replace("b" * 16, "notes")):
        assert version_key_of(other) is None


def test_a_run_and_its_history_have_folders():
    folder = history_folder("2026-11-24T00:00:00+00:00")
    assert folder == "history/2026-11-24T000000+0000"
    assert run_uri("/store/", "voc12", folder, "run.json") == f"/store/runs/voc12/{folder}/run.json"


def test_a_temporary_name_is_unique_and_recognised():
    first, second = temporary_name("run.json"), temporary_name("run.json")
    assert first != second
    assert is_temporary(f"/store/runs/voc12/{first}")
    assert not is_temporary("/store/runs/voc12/run.json")
    assert not is_temporary("/store/runs/voc12/.mine.tmp")


@pytest.mark.parametrize("store", ["/data/store", "/data/store/", "s3://bucket/a", "memory://x", "/artifacts/a/runs"])
@pytest.mark.parametrize("moved", ["/copy", "s3://other"])
def test_a_file_is_found_after_its_store_moved(store, moved):
    for uri in (artifact_uri(store, KEY), run_uri(store, "runs", "manifest.parquet")):
        location = location_in(store, uri)
        assert not location.startswith(("/", "s3:", "memory:"))
        assert uri_in(moved, location) == uri_in(moved, uri) == f"{moved}/{location}"


@pytest.mark.parametrize("image_id", ["a", "sub/a", "artifacts/x/b.parquet/c", "two\nlines"])
@pytest.mark.parametrize("store", ["/data/store", "s3://bucket/a"])
def test_the_uri_of_a_row_names_its_artifact_and_its_photo(store, image_id):
    uri = artifact_uri(store, KEY)
    assert row_of(row_uri(uri, image_id)) == (uri, image_id)
    assert row_uri_in("/copy", row_uri(uri, image_id)) == row_uri(artifact_uri("/copy", KEY), image_id)


@pytest.mark.parametrize("uri", [None, "/truth/a.png", "s3://b/shards/0.parquet/a.png", artifact_uri("/store", KEY)])
def test_other_uris_are_no_rows(uri):
    assert uri is None or row_of(uri) is None
    assert row_uri_in("/copy", uri) == uri
