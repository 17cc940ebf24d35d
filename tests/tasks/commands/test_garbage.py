import json
import os
import re
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from support.archives import tar
from support.prepared import prepare_ranking, prepare_run
from support.run_contents import RUN
from support.s3_server import write_marker
from support.small_runs import TINY_NETWORK, make_all_shards
from support.stored_garbage import A, B, artifact, found, recorded_artifacts, run, short_names

from clipes.tasks.commands.garbage import DAY, HOUR, INDEXES, counted_garbage, find_garbage, remove_garbage, seconds_of
from clipes.tasks.inputs.sources.index_files import index_uri
from clipes.tasks.inputs.sources.table import find_files
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore, key_metadata
from clipes.tasks.storage.files import write_atomically
from clipes.tasks.storage.layout import ArtifactKey, checkpoints_uri, claims_uri, new_part_uri, weights_uri
from clipes.tasks.storage.listed_store import ListedStore
from clipes.tasks.storage.parquet.writing import write_table
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_history import archive
from clipes.tasks.storage.run_schemas.tables import MANIFEST_SCHEMA
from clipes_core.errors import ArtifactError, UsageError


def test_a_completed_run_keeps_the_artifacts_in_its_status(store):
    used = [artifact(store, "cams"), artifact(store, "masks")]
    left = [artifact(store, "masks", shard=1), artifact(store, "masks", B)]
    run(store, artifacts=used, stage_keys={"cams": A, "masks": A})
    assert found(store) == short_names(*left)


@pytest.mark.parametrize("state", ["running", "failed", "cancelled"])
def test_any_other_run_keeps_all_artifacts_with_its_stage_keys(store, state):
    used = [artifact(store, "cams"), artifact(store, "cams", shard=1), artifact(store, "masks")]
    left = [artifact(store, "cams", B), artifact(store, "masks", B)]
    run(store, state=state, artifacts=used[:1], stage_keys={"cams": A, "masks": A})
    assert found(store) == short_names(*left)


def test_a_completed_run_without_status_keeps_all_with_its_stage_keys(store):
    artifact(store, "cams")
    run(store, stage_keys={"cams": A})
    assert found(store) == []


def test_a_completed_run_with_an_older_status_keeps_all_with_its_stage_keys(store):
    used = [artifact(store, "cams"), artifact(store, "cams", shard=1)]
    run(store, artifacts=used[:1], stage_keys={"cams": A}, seals={"status.parquet": "the seal of another file"})
    assert found(store) == []


@pytest.mark.parametrize("stage", ["candidate_texts", "word_texts"])
def test_a_run_that_ranks_templates_or_words_keeps_all_texts(store, stage):
    artifact(store, "texts"), artifact(store, "texts", B)
    left = artifact(store, "cams", B)
    run(store, state="failed", stage_keys={stage: A})
    assert found(store) == short_names(left)


def part(store, stage, stage_key=A):
    """Write a part without rows of the artifact that `artifact` writes, and return its URI."""
    key, rows = ArtifactKey(stage, stage_key, 0, "c" * 16), STAGES[stage].schema.empty_table()
    uri = new_part_uri(store.uri, key)
    with write_atomically(uri) as temporary:
        write_table(uri, temporary, rows, key_metadata(key))
    return uri


def test_the_parts_of_a_shard_are_kept_only_for_runs_that_are_not_completed(store):
    run(store, "done", artifacts=[artifact(store, "cams"), artifact(store, "masks")])
    left = [part(store, "cams"), part(store, "masks"), part(store, "masks", B)]
    assert found(store) == short_names(*left)
    run(store, "stopped", state="failed", stage_keys={"masks": A})
    assert found(store) == short_names(left[0], left[2])
    assert list(remove_garbage(store.uri, HOUR, time.time() + DAY)) == ["cams", "masks"]
    assert found(store) == []


@pytest.fixture
def indexed(store, tmp_path):
    """Write and index four archives; return the fingerprint of a photo in each of them, and the URI of its index."""
    found = []
    for number in range(4):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(tar({f"{number}.jpg": b"photo" * (number + 1)}))
        uri = f"{path}/{number}.jpg"
        archive = find_files([str(path)]).files[str(path)]
        found.append((find_files([uri], store.uri).files[uri].fingerprint, index_uri(store.uri, archive)))
    return found


def manifest(*fingerprints):
    rows = [{"fingerprint": each, "truth_fingerprint": truth} for each, truth in fingerprints]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_the_indexes_of_the_archives_of_a_run_are_kept(store, indexed, state):
    (photo, _), (truth, _), (evaluated, _), (_, left) = indexed
    assert len(find_garbage(store.uri, HOUR, time.time() + DAY)[INDEXES]) == 4
    run(store, state=state, artifacts=[])
    files = RunFiles(store.uri, "voc12")
    files.write_table("manifest.parquet", manifest(("etag:no archive", None), (photo, truth)))
    files.write_table("evaluation.parquet", manifest((evaluated, None)))
    assert found(store, age=HOUR - 60) == []
    assert found(store) == short_names(left)
    assert list(remove_garbage(store.uri, HOUR, time.time() + DAY)) == [INDEXES]
    assert found(store) == []


def test_a_broken_manifest_stops_the_search_only_if_there_are_old_indexes(local, tmp_path):
    run(local, artifacts=[])
    RunFiles(local.uri, "voc12").write_bytes("manifest.parquet", b"broken")
    left = artifact(local, "cams")
    assert found(local) == short_names(left)
    (tmp_path / "0.tar").write_bytes(tar({"0.jpg": b"photo"}))
    find_files([f"{tmp_path}/0.tar/0.jpg"], local.uri)
    with pytest.raises(ArtifactError, match=r"^nothing was deleted, because .*manifest\.parquet cannot be read"):
        found(local)


def test_artifacts_of_all_runs_are_kept(store):
    one, two = artifact(store, "cams"), artifact(store, "cams", shard=1)
    run(store, "one", artifacts=[one])
    run(store, "two", artifacts=[two])
    assert found(store) == []


def test_archived_runs_keep_no_artifacts(store):
    left = artifact(store, "cams")
    run(store, artifacts=[left])
    archive(RunFiles(store.uri, "voc12"), "2026-11-24T00:00:00+00:00", ["run.json", "status.parquet"])
    run(store, artifacts=[])
    assert found(store) == short_names(left)


def test_young_artifacts_are_kept(store):
    left = artifact(store, "cams")
    run(store, artifacts=[])
    assert found(store, older_than_s=HOUR, age=HOUR - 60) == []
    assert found(store, older_than_s=HOUR, age=HOUR + 60) == short_names(left)
    assert found(store, older_than_s=0, age=60) == short_names(left)


def test_files_that_are_not_artifacts_are_kept(local):
    folder = Path(artifact(local, "cams")).parent
    run(local, artifacts=[])
    (folder / f"000-{A}.checkpoints").mkdir()
    for name in ("notes.txt", "000-notes.parquet", f"000-{A}.parquet.bak", f"000-{A}.checkpoints/my_best.pt"):
        (folder / name).write_bytes(b"mine")
    assert [place.rpartition("/")[2] for place in found(local)] == [f"000-{'c' * 16}.parquet"]


def test_partially_written_files_are_garbage_after_a_day(local):
    run(local, state="running", stage_keys={"cams": A})
    folders = [Path(artifact(local, "cams")).parent, Path(RunFiles(local.uri, "voc12").folder)]
    folders.append(Path(claims_uri(local.uri, "run", "voc12")))
    folders[-1].mkdir(parents=True)
    left = [folder / f".000-{A}.parquet.{uuid.uuid4().hex}.tmp" for folder in folders]
    for path in left:
        path.touch()
    (folders[1] / ".mine.tmp").touch()
    assert found(local, age=DAY - 60) == []
    assert found(local, age=DAY + 60) == short_names(*map(str, left))


def test_the_further_photos_of_a_report_belong_to_its_run(store):
    run(store, artifacts=[artifact(store, "masks")])
    files = RunFiles(store.uri, "voc12")
    files.write_bytes("report/photos-0001.js", b"clipesPhotos('');")
    assert found(store) == []
    files.write_bytes(f"report/.photos-0001.js.{uuid.uuid4().hex}.tmp", b"clipesPh")
    assert len(found(store, age=DAY + 60)) == 1


def test_garbage_is_counted_and_removed_by_stage(store):
    run(store, artifacts=[artifact(store, "masks")])
    for stage, shard in (("masks", 0), ("masks", 1), ("cams", 0)):
        artifact(store, stage, B, shard)
    garbage = find_garbage(store.uri, HOUR, time.time() + DAY)

    counts = {count.stage: (count.files, count.size_bytes) for count in counted_garbage(garbage)}
    assert list(counts) == ["cams", "masks"]
    assert [files for files, _ in counts.values()] == [1, 2]
    assert counts["masks"][1] > counts["cams"][1] / 2 > 100

    assert remove_garbage(store.uri, HOUR, time.time() + DAY) == garbage
    assert remove_garbage(store.uri, HOUR, time.time() + DAY) == {}
    assert store.is_complete(ArtifactKey("masks", A, 0, "c" * 16), 0)
    listed = ListedStore(store.uri)
    assert not any(listed.shard_artifacts(stage, B, shard) for stage in ("cams", "masks") for shard in (0, 1))
    assert find_garbage(store.uri, HOUR, time.time() + DAY) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is not the file that clipes wrote"),
        ('{"state": "completed"}', "is not the file that clipes wrote"),
        (json.dumps({**RUN, "name": "other"}), "belongs to run other"),
        (None, "is missing"),
    ],
)
def test_a_broken_run_json_stops_the_search_for_garbage(store, content, reason):
    artifact(store, "cams")
    run(store, "good", artifacts=[])
    RunFiles(store.uri, "odd").write_bytes("run.json" if content else "metrics.json", (content or "{}").encode())
    run_json = f"{store.uri}/runs/odd/run.json {reason}"
    message = f"nothing was deleted, because .* run odd uses are unknown .{run_json}.*, or remove {store.uri}/runs/odd$"
    with pytest.raises(ArtifactError, match=message) as caught:
        find_garbage(store.uri, HOUR, time.time() + DAY)
    assert "clipes will rebuild it" not in str(caught.value)


def test_an_empty_run_folder_and_a_foreign_file_are_no_runs(local):
    left = artifact(local, "cams")
    run(local, artifacts=[])
    runs = Path(local.uri) / "runs"
    (runs / "empty").mkdir()
    (runs / ".DS_Store").touch()
    (runs.parent / "archive_indexes").mkdir()
    index = runs.parent / "archive_indexes" / f"{A}-{B}.parquet"
    index.touch()
    assert found(local) == short_names(left, str(index))


def test_the_markers_of_folders_are_no_runs(s3, s3_folder):
    store = ArtifactStore(s3_folder)
    left = artifact(store, "cams")
    run(store, artifacts=[])
    for folder in ("artifacts", "artifacts/cams", "runs", "runs/voc12", "runs/new", "claims", "claims/run"):
        write_marker(s3, f"{s3_folder}/{folder}")
    assert found(store) == short_names(left)
    assert len(remove_garbage(store.uri, HOUR, time.time() + DAY)["cams"]) == 1


def test_a_broken_status_stops_the_search_for_garbage(local):
    run(local, artifacts=[artifact(local, "cams")])
    status = Path(RunFiles(local.uri, "voc12").uri("status.parquet"))
    status.write_bytes(status.read_bytes()[:-50])
    with pytest.raises(ArtifactError, match=r"run voc12 uses are unknown \(.*status\.parquet cannot be read") as caught:
        find_garbage(local.uri, HOUR, time.time() + DAY)
    assert "delete it" not in str(caught.value)


def test_a_folder_without_a_store_is_an_error(store):
    with pytest.raises(UsageError, match=f"no artifacts and no runs in {store.uri}: name another store with --store"):
        find_garbage(store.uri, HOUR, time.time())


@pytest.mark.parametrize(("age", "seconds"), [("7d", 7 * DAY), ("12h", 12 * HOUR), ("0d", 0)])
def test_ages_are_given_in_days_or_hours(age, seconds):
    assert seconds_of(age) == seconds


@pytest.mark.parametrize("age", ["", "7", "d", "7w", "-1d", "1.5h", "7 d", f"{'9' * 400}d"])
def test_a_bad_age_is_an_error(age):
    with pytest.raises(UsageError, match=re.escape(f"--older-than {age}: expected a number of days or hours, such")):
        seconds_of(age)


def test_recorded_runs_keep_only_the_artifacts_of_their_last_config(tiny, pool):
    for name in "abc":
        tiny.add(name, "cat;dog")
    first = recorded_artifacts(prepare_run(tiny.config(execution={"shards": 2}), "masks"), pool)
    tiny.label("a", "dog")
    settings = {"execution": {"shards": 2}, "crf": {"iter_max": 2}}
    second = recorded_artifacts(prepare_run(tiny.config(**settings), "masks"), pool)
    ranking = prepare_ranking(tiny.config().model_copy(update={"name": "ranking"}), ("a {}.", "the {}."))
    ranked = recorded_artifacts(ranking, pool)
    store = ranking.store

    assert found(store) == short_names(*{*first} - {*second})
    remove_garbage(store.uri, HOUR, time.time() + DAY)

    assert all(os.path.exists(uri) for uri in (*second, *ranked))  # noqa: PTH110
    assert found(store) == []
    again = make_all_shards(prepare_run(tiny.config(**settings), "masks"), pool)
    assert all(record.cached for record in again.records())


@pytest.mark.slow
def test_weights_and_checkpoints_are_kept_or_removed_with_their_artifact(tiny, pool):
    tiny.add("a", "cat;dog")

    def trained(seed):
        train = {"enabled": True, "mmseg_config": str(TINY_NETWORK), "init": "none", "iterations": 2, "seed": seed}
        run = prepare_run(tiny.config(train=train), "segmenter")
        (uri,) = (uri for uri in recorded_artifacts(run, pool) if "/segmenter/" in uri)
        newest = f"{checkpoints_uri(uri)}/00000002.pt"
        assert all(map(os.path.exists, (weights_uri(uri), newest)))
        return run.store, (uri, weights_uri(uri), newest, f"{checkpoints_uri(uri)}/00000001.pt")

    (store, left), (_, used) = trained(seed=0), trained(seed=1)
    garbage = find_garbage(store.uri, HOUR, time.time() + DAY)
    assert {stage: len(files) for stage, files in garbage.items()} == {"segmenter": 4}
    remove_garbage(store.uri, HOUR, time.time() + DAY)
    assert [os.path.exists(uri) for uri in (*left, *used)] == [False] * 4 + [True] * 4  # noqa: PTH110
