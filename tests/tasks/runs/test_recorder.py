import json
import shutil
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from s3fs import S3FileSystem
from support.s3_server import BUCKET, S3Server
from support.small_runs import make_run

from clipes.tasks.plan.keys import shard_of
from clipes.tasks.runs import recorder as run_files
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.preparation import prepare_ranking
from clipes.tasks.runs.recorder import open_run, record_choice, recorded_run
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import StageError, StorageError


def folder_of(run):
    return Path(run.store.run_uri(run.config.name))


def write_down(record, made):
    for each in made.records.values():
        record.ledger.started(each.stage, each.shard, 1)
        record.ledger.finished(each, 1)


def test_a_run_says_at_its_start_what_it_is(prepared):
    run = prepared()
    assert open_run(run) == ()

    begun = json.loads((folder_of(run) / "run.json").read_text())

    assert (begun["name"], begun["state"], begun["until"], begun["finished"]) == ("tiny", "running", "masks", None)
    assert (begun["photos"], begun["rejected"], begun["precision"]) == (2, 0, "fp32")
    assert begun["config"] == run.config.model_dump(mode="json")
    assert begun["stage_keys"] == run.keys
    assert begun["model_digest"] == run.inputs.model_digest
    assert begun["versions"]["clipes"] == "0.1.0"
    assert datetime.fromisoformat(begun["started"]).utcoffset().total_seconds() == 0


def test_the_manifest_lists_every_photo_with_its_shard(prepared):
    run = prepared()
    open_run(run)

    rows = {row["image_id"]: row for row in pq.read_table(folder_of(run) / "manifest.parquet").to_pylist()}

    assert {name: row["shard"] for name, row in rows.items()} == {name: shard_of(name, 2) for name in "ad"}
    assert {name: row["class_ids"] for name, row in rows.items()} == {"a": [8, 12], "d": []}
    (photo,) = [photo for photos in run.inputs.shards.values() for photo in photos if photo.image_id == "a"]
    facts = {name: rows["a"][name] for name in ("uri", "size_bytes", "fingerprint", "truth_uri")}
    assert facts == {name: getattr(photo, name) for name in facts}


def test_the_same_config_again_changes_nothing(prepared):
    open_run(prepared())
    assert open_run(prepared()) == ()
    assert not (folder_of(prepared()) / "history").exists()


def test_a_shorter_run_keeps_the_files_of_the_longer_one(prepared):
    with recorded_run(prepared()):
        pass
    assert open_run(prepared(until="cams")) == ("until",)
    assert len(list((folder_of(prepared()) / "history").iterdir())) == 1


def test_too_many_photos_that_cannot_be_listed_stop_the_run_and_are_written_down(tiny, prepared):
    (tiny.folder / "d.png").unlink()
    run = prepared(execution={"max_failure_rate": 0.3})
    with pytest.raises(StageError) as caught, recorded_run(run) as record:
        check_failure_rate(record.ledger, "manifest")
    expected = "manifest: 1 of 2 photos failed, more than execution.max_failure_rate 0.3 allows; the first: d: "
    assert str(caught.value).startswith(expected)
    assert read_run(run.config.store, "tiny").rejects == 1


def test_changed_keys_are_named_and_the_old_files_kept(prepared):
    run = prepared()
    with recorded_run(run):
        pass
    files = {path.name: path.read_bytes() for path in folder_of(run).iterdir()}

    changed = open_run(prepared(crf={"iter_max": 3}, cam={"scales": [1.0, 0.5], "power": 1}))

    assert changed == ("cam.power", "cam.scales", "crf.iter_max")
    (history,) = (folder_of(run) / "history").iterdir()
    assert history.name == json.loads(files["run.json"])["started"].replace(":", "")
    assert {path.name: path.read_bytes() for path in history.iterdir()} == files
    assert files.keys() == {"run.json", "manifest.parquet", "rejects.parquet", "status.parquet", "metrics.json"}
    left = {path.name for path in folder_of(run).iterdir()}
    assert left == {"run.json", "manifest.parquet", "history"}


def test_a_run_that_ended_says_how(prepared):
    run = prepared()
    with recorded_run(run) as record:
        assert read_run(run.config.store, "tiny").run["state"] == "running"
    status = read_run(run.config.store, "tiny")

    assert (status.run["state"], status.run["error"], status.interrupted) == ("completed", None, False)
    assert datetime.fromisoformat(status.run["finished"]) >= datetime.fromisoformat(status.run["started"])
    assert [(row["stage"], row["state"], row["images"]) for row in status.shards] == [("manifest", "completed", 2)]
    assert status.rejects == 0
    assert record.summary().metrics == status.metrics
    assert status.metrics["stages"].keys() == {"manifest"}


def test_a_run_that_failed_says_why(prepared):
    run = prepared()
    with pytest.raises(StageError), recorded_run(run):
        raise StageError("masks shard 0: no")

    status = read_run(run.config.store, "tiny")
    assert (status.run["state"], status.run["error"]) == ("failed", "masks shard 0: no")
    assert status.metrics["stages"].keys() == {"manifest"}


def test_a_run_that_was_stopped_says_so(prepared):
    run = prepared()
    with pytest.raises(KeyboardInterrupt), recorded_run(run):
        raise KeyboardInterrupt
    assert read_run(run.config.store, "tiny").run["state"] == "cancelled"


def test_what_became_of_a_run_is_written_down(tiny, prepared, pool):
    run = prepared()
    (tiny.folder / "d.png").unlink()

    with recorded_run(run) as record:
        write_down(record, make_run(run, pool))

    status = read_run(run.config.store, "tiny")
    assert [(row["stage"], row["state"], row["images"], row["errors"]) for row in status.shards] == [
        ("manifest", "completed", 2, 0),
        ("texts", "completed", 45, 0),
        ("cams", "completed", 1, 0),
        ("cams", "completed", 1, 1),
        ("masks", "completed", 1, 0),
        ("masks", "completed", 1, 0),
    ]
    assert all(Path(row["artifact"]).is_file() for row in status.shards)
    assert status.rejects == 1
    (reject,) = pq.read_table(folder_of(run) / "rejects.parquet").to_pylist()
    assert (reject["image_id"], reject["stage"], reject["kind"]) == ("d", "cams", "missing")
    assert reject["reason"] == f"{tiny.folder}/d.png does not exist"
    stages = status.metrics["stages"]
    assert list(stages) == ["manifest", "texts", "cams", "masks"]
    assert (stages["cams"]["shards"], stages["cams"]["images"], stages["cams"]["computed_rows"]) == (2, 2, 2)
    assert stages["cams"]["busy_seconds"] > 0


def test_photos_that_could_not_be_listed_are_rejects_of_the_run(tiny, prepared):
    prepared()
    (tiny.folder / "d.png").unlink()
    run = prepared(execution={"max_failure_rate": 1})

    with recorded_run(run):
        pass

    assert read_run(run.config.store, "tiny").run["rejected"] == 1
    (reject,) = pq.read_table(folder_of(run) / "rejects.parquet").to_pylist()
    assert (reject["image_id"], reject["stage"]) == ("d", "manifest")


def test_scores_are_written_with_the_names_of_the_classes(golden_made):
    with recorded_run(golden_made.run) as record:
        write_down(record, golden_made)

    metrics = record.summary().metrics
    written = json.loads((folder_of(golden_made.run) / "metrics.json").read_text())
    assert metrics == written
    assert list(metrics) == ["centre_box", "initial_cam", "pseudo_mask", "refined_cam", "stages"]
    for what in ("centre_box", "initial_cam", "refined_cam", "pseudo_mask"):
        scores = metrics[what]
        ious = scores["class_iou"]
        assert list(ious)[:4] == ["background", "aeroplane", "bicycle", "bird"]
        assert len(ious) == 21
        assert ious["sofa"] is None  # in none of the nine photos
        assert scores["miou"] == pytest.approx(np.mean([iou for iou in ious.values() if iou is not None]))
        assert 0 < scores["miou"] < scores["pixel_accuracy"] < 1
        assert scores["images"] == 9
    assert metrics["centre_box"]["background_power"] is None
    assert metrics["pseudo_mask"]["background_power"] == 1
    assert metrics["refined_cam"]["background_power"] in (1, 2)
    assert metrics["stages"]["mask_scores"]["images"] == 9


def test_a_summary_tells_where_the_run_is(prepared):
    with recorded_run(prepared()):
        pass
    run = prepared(crf={"iter_max": 2})
    with recorded_run(run) as record:
        pass

    summary = record.summary()
    assert (summary.name, summary.uri) == ("tiny", str(folder_of(run)))
    assert summary.rejects == 0


def test_status_is_written_while_the_run_goes_on(prepared, monkeypatch):
    monkeypatch.setattr(run_files, "STATUS_SECONDS", 0.05)
    run = prepared()
    with recorded_run(run) as record:
        record.ledger.started("cams", 1, 1)
        until = time.monotonic() + 5
        while len(read_run(run.config.store, "tiny").shards) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        _, shard = read_run(run.config.store, "tiny").shards
    assert (shard["stage"], shard["shard"], shard["state"]) == ("cams", 1, "running")


def test_a_store_that_cannot_be_used_is_told_so_before_anything_is_made(tiny, prepared):
    (tiny.folder / "store").write_text("no folder")
    with pytest.raises(StorageError, match=r"run\.json cannot be used \(.*Not a directory.*\); mend it"):
        open_run(prepared())


def test_a_template_that_is_chosen_is_written_down_and_the_config_stays(prepared):
    run = prepared(prompts={"template": "auto"})
    with recorded_run(run) as record:
        begun = run.store.read_run_json("tiny", "run.json")
        chosen = run.with_template("a {}.")
        record_choice(chosen)
        record.findings["prompts"] = {"template": "a {}."}
    ended = run.store.read_run_json("tiny", "run.json")

    assert (begun["template"], list(begun["stage_keys"])) == (None, ["candidate_texts", "embeddings", "prompts"])
    assert (ended["template"], ended["state"]) == ("a {}.", "completed")
    assert ended["stage_keys"] == chosen.keys
    assert ended["config"] == begun["config"]
    assert ended["config"]["prompts"]["template"] == "auto"
    assert record.summary().metrics["prompts"] == {"template": "a {}."}
    assert open_run(prepared(prompts={"template": "auto"})) == ()


def test_other_candidates_are_another_ranking(tiny, prepared):
    prepared()
    first, same, other = (
        prepare_ranking(tiny.config(), candidates) for candidates in (("a {}.",), ("a {}.",), ("the {}.",))
    )
    with recorded_run(first):
        first.store.write_run_bytes("tiny", "prompts.png", b"plot")
    assert open_run(same) == ()
    assert first.store.run_file("tiny", "prompts.png") is None  # what a run writes is never of the one before
    assert open_run(other) == ("candidates",)
    assert first.store.read_run_json("tiny", "run.json")["template"] is None


def test_a_store_that_fails_with_the_run_does_not_hide_why_it_failed(prepared, caplog):
    run = prepared()

    def fail():
        shutil.rmtree(folder_of(run))
        folder_of(run).write_text("in the way")
        raise StageError("the real one")

    with pytest.raises(StageError, match=r"^the real one$"), recorded_run(run):
        fail()
    assert "that the run failed could not be written: " in caplog.text
    assert "Not a directory" in caplog.text


@pytest.mark.slow
def test_a_store_that_is_away_for_a_moment_at_the_end_turns_no_good_run_bad(prepared, tmp_path, monkeypatch, caplog):
    server = S3Server(tmp_path)
    server.start()
    server.make_bucket(BUCKET)
    for name, value in {**server.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():  # botocore itself does not wait
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    run = replace(prepared(execution={"retries": 9}), store=ArtifactStore(f"s3://{BUCKET}/store"))

    def come_back():
        while "Retrying" not in caplog.text:
            time.sleep(0.1)
        server.start()

    coming_back = threading.Thread(target=come_back)
    try:
        with recorded_run(run):
            server.kill()
            coming_back.start()
        coming_back.join()
        assert "Could not connect to the endpoint URL" in caplog.text
        assert read_run(run.store.uri, "tiny").run["state"] == "completed"
    finally:
        server.kill()
        S3FileSystem.clear_instance_cache()
