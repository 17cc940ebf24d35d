import os
import shutil
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from s3fs import S3FileSystem
from support.killed_writers import record_and_kill
from support.report_runs import write_run_files
from support.s3_server import BUCKET, S3Server
from support.small_runs import make_run, run_files

from clipes.tasks.commands.export.formats import export_run
from clipes.tasks.commands.garbage import DAY, LEFTOVERS, find_garbage
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.record import recorder
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.runs.record.start import start_run
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.files import write_file
from clipes.tasks.storage.layout import claims_uri
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import BrokenArtifactError, RunBusyError, StageError


def folder_of(run):
    return Path(run_files(run).folder)


def write_down(record, made):
    for each in made.records.values():
        record.ledger.started(each.stage, each.shard, 1)
        record.ledger.finished(each, 1)


def test_a_run_with_too_many_unlistable_photos_stops_and_records_them(tiny, prepared):
    (tiny.folder / "d.png").unlink()
    run = prepared(execution={"max_failure_rate": 0.3, "tolerated_failures": 0})
    with pytest.raises(StageError) as caught, record_run(run) as record:
        check_failure_rate(record.ledger, "manifest")
    expected = "manifest: 1 of 2 photos failed, more than 0, the limit of execution.max_failure_rate=0.3 and "
    assert str(caught.value).startswith(expected)
    assert read_run(run.config.store, "tiny").rejects == 1


def test_a_completed_run_is_recorded(prepared):
    run = prepared()
    with record_run(run) as record:
        assert read_run(run.config.store, "tiny").run["state"] == "running"
    status = read_run(run.config.store, "tiny")

    assert (status.run["state"], status.run["error"], status.interrupted) == ("completed", None, False)
    assert datetime.fromisoformat(status.run["finished"]) >= datetime.fromisoformat(status.run["started"])
    assert [(row["stage"], row["state"], row["images"]) for row in status.shards] == [("manifest", "completed", 2)]
    assert status.rejects == 0
    assert record.summary().metrics == status.metrics
    assert status.metrics["stages"].keys() == {"manifest"}


def test_a_failed_run_is_recorded_with_its_error(prepared):
    run = prepared()
    with pytest.raises(StageError), record_run(run):
        raise StageError("masks shard 0: no")

    status = read_run(run.config.store, "tiny")
    assert (status.run["state"], status.run["error"]) == ("failed", "masks shard 0: no")
    assert status.metrics["stages"].keys() == {"manifest"}


def test_an_interrupted_run_is_recorded_as_cancelled(prepared):
    run = prepared()
    with pytest.raises(KeyboardInterrupt), record_run(run):
        raise KeyboardInterrupt
    assert read_run(run.config.store, "tiny").run["state"] == "cancelled"


def test_a_stopped_run_is_cancelled_even_if_its_cleanup_fails(prepared):
    run = prepared()

    def stopped():
        try:
            raise KeyboardInterrupt
        finally:
            os.close(-1)

    with pytest.raises(KeyboardInterrupt), record_run(run):
        stopped()
    assert read_run(run.config.store, "tiny").run["state"] == "cancelled"


def test_the_shards_and_rejects_of_a_run_are_recorded(tiny, prepared, pool):
    run = prepared()
    (tiny.folder / "d.png").unlink()

    with record_run(run) as record:
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

    with record_run(run):
        pass

    assert read_run(run.config.store, "tiny").run["rejected"] == 1
    (reject,) = pq.read_table(folder_of(run) / "rejects.parquet").to_pylist()
    assert (reject["image_id"], reject["stage"]) == ("d", "manifest")


def test_scores_are_recorded_with_the_names_of_the_classes(scenes_made):
    with record_run(scenes_made.run) as record:
        write_down(record, scenes_made)

    metrics = record.summary().metrics
    assert metrics == run_files(scenes_made.run).read_metrics()
    assert list(metrics) == ["centre_box", "initial_cam", "pseudo_mask", "refined_cam", "stages", "run"]
    for what in ("centre_box", "initial_cam", "refined_cam", "pseudo_mask"):
        scores = metrics[what]
        ious = scores["class_iou"]
        assert list(ious)[:4] == ["background", "aeroplane", "bicycle", "bird"]
        assert len(ious) == 21
        assert ious["sofa"] is None  # no photo has this class
        assert scores["miou"] == pytest.approx(np.mean([iou for iou in ious.values() if iou is not None]))
        assert 0 < scores["miou"] < scores["pixel_accuracy"] < 1
        assert scores["images"] == 9
    assert metrics["centre_box"]["background_power"] is None
    assert metrics["pseudo_mask"]["background_power"] == 1
    assert metrics["refined_cam"]["background_power"] in (1, 2)
    assert metrics["stages"]["mask_scores"]["images"] == 9


def test_the_summary_names_the_folder_of_the_run(prepared):
    with record_run(prepared()):
        pass
    run = prepared(crf={"iter_max": 2})
    with record_run(run) as record:
        pass

    summary = record.summary()
    assert (summary.name, summary.uri) == ("tiny", str(folder_of(run)))
    assert summary.rejects == 0


def test_the_status_is_written_during_the_run(prepared, monkeypatch):
    monkeypatch.setattr(recorder, "STATUS_SECONDS", 0.05)
    run = prepared()
    with record_run(run) as record:
        record.ledger.started("cams", 1, 1)
        until = time.monotonic() + 5
        while len(read_run(run.config.store, "tiny").shards) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        _, shard = read_run(run.config.store, "tiny").shards
    assert (shard["stage"], shard["shard"], shard["state"]) == ("cams", 1, "running")


def test_a_chosen_template_is_recorded_without_changing_the_config(prepared):
    run = prepared(prompts={"template": "auto"})
    with record_run(run) as record:
        begun = run_files(run).read_run()
        chosen = run.with_inputs(run.inputs.with_prompts(template="a {}."))
        record.choose(chosen)
        record.findings["prompts"] = {"template": "a {}."}
    ended = run_files(run).read_run()

    assert (begun["template"], list(begun["stage_keys"])) == (None, ["candidate_texts", "embeddings", "prompts"])
    assert (ended["template"], ended["state"]) == ("a {}.", "completed")
    assert ended["stage_keys"] == chosen.keys
    assert ended["config"] == begun["config"]
    assert ended["config"]["prompts"]["template"] == "auto"
    assert record.summary().metrics["prompts"] == {"template": "a {}."}
    assert start_run(prepared(prompts={"template": "auto"}), 1) == ()


def test_a_store_failure_does_not_mask_the_error_of_the_run(prepared, caplog):
    run = prepared()

    def fail():
        shutil.rmtree(folder_of(run))
        folder_of(run).write_text("in the way")
        raise StageError("the real one")

    with pytest.raises(StageError, match=r"^the real one$"), record_run(run):
        fail()
    assert "the run has ended (failed), but its files could not be updated: " in caplog.text
    assert f"{folder_of(run)}/status.parquet cannot be used" in caplog.text


def test_a_run_that_lost_its_name_changes_no_file_of_the_new_run_and_keeps_its_error(prepared, caplog):
    run = prepared()
    ended = {}

    def fail():
        write_file(f"{claims_uri(run.store.uri, 'run', 'tiny')}/000000002.json", b"{}")
        ended.update({path.name: path.read_bytes() for path in folder_of(run).iterdir() if path.is_file()})
        raise StageError("the real one")

    with pytest.raises(StageError, match=r"^the real one$"), record_run(run):
        fail()
    assert "another process has taken over" in caplog.text
    assert {path.name: path.read_bytes() for path in folder_of(run).iterdir() if path.is_file()} == ended


@pytest.mark.parametrize("write", ["status", "choice", "outcome"])
def test_a_run_that_lost_its_name_writes_nothing_at_all(prepared, write):
    run = prepared()
    lose = partial(write_file, f"{claims_uri(run.store.uri, 'run', 'tiny')}/000000002.json", b"{}")
    calls = {
        "choice": lambda record: record.choose(run),
        "outcome": lambda record: record.close("completed"),
        "status": lambda record: (suppress_busy(record.confirm), record.write_status()),
    }

    def disturb(record):
        lose()
        before = {path.name: path.read_bytes() for path in folder_of(run).iterdir() if path.is_file()}
        with pytest.raises(RunBusyError, match="another process has taken over"):
            calls[write](record)
        assert {path.name: path.read_bytes() for path in folder_of(run).iterdir() if path.is_file()} == before

    with pytest.raises(RunBusyError), record_run(run) as record:
        disturb(record)


def suppress_busy(call):
    with suppress(RunBusyError):
        call()


def test_a_run_that_lost_its_name_writes_no_status(prepared, monkeypatch):
    run = prepared()
    monkeypatch.setattr("clipes.tasks.storage.claims.STALE_SECONDS", -1.0)
    status = folder_of(run) / "status.parquet"

    def lose(record):
        write_file(f"{claims_uri(run.store.uri, 'run', 'tiny')}/000000002.json", b"{}")
        status.write_text("of the new run")
        record.write_status()

    with pytest.raises(RunBusyError, match="another process has taken over"), record_run(run) as record:
        lose(record)
    assert status.read_text() == "of the new run"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3, 4, 5])
def test_state_export_and_gc_agree_after_a_kill_at_any_write_at_the_end(prepared, pool, tmp_path, write, when):
    made = make_run(prepared(), pool)
    store, name = made.run.config.store, made.run.config.name
    assert record_and_kill(made, write, when)

    status = read_run(store, name)
    completed = write == 5 or (write, when) == (4, "after")
    assert (status.run["state"], status.interrupted) == (("completed", False) if completed else ("running", True))
    assert find_garbage(store, 0, time.time() + DAY).keys() <= {LEFTOVERS}
    if write > 1 or when == "after":
        assert export_run("voc", store, name, str(tmp_path / "out"), 0).written == 2
        assert all(shard["artifact"] for shard in status.shards)
    else:
        with pytest.raises(StageError, match="has no pseudo masks yet"):
            export_run("voc", store, name, str(tmp_path / "out"), 0)

    write_run_files(made)  # the resumed run
    assert read_run(store, name).run["state"] == "completed"
    assert export_run("voc", store, name, str(tmp_path / "out"), 0).written == 2


@pytest.mark.parametrize(("write", "when"), [(1, "before"), (1, "after"), (2, "before"), (2, "after")])
def test_a_run_that_was_killed_at_its_start_has_no_files_of_the_run_before(prepared, pool, tmp_path, write, when):
    made = make_run(prepared(), pool)
    store, name = made.run.config.store, made.run.config.name
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(StageError))
        write_down(stack.enter_context(record_run(made.run)), made)
        raise StageError("too many photos failed")
    assert record_and_kill(made, write, when, at="start")

    if (write, when) == (1, "before"):  # run.json is still that of the failed run
        with pytest.raises(BrokenArtifactError, match=r"manifest\.parquet is missing: run again"):
            read_run(store, name)
    else:
        status = read_run(store, name)
        assert (status.interrupted, status.shards, status.metrics) == (True, [], None)
        with pytest.raises(StageError, match="has no pseudo masks yet"):
            export_run("voc", store, name, str(tmp_path / "out"), 0)
    assert find_garbage(store, 0, time.time() + DAY).keys() <= {LEFTOVERS}

    write_run_files(made)  # the resumed run
    assert export_run("voc", store, name, str(tmp_path / "out"), 0).written == 2


START_WRITES = 7  # five files of the last run go to the history; then run.json and manifest.parquet are written


@pytest.mark.parametrize("changed", [{}, {"crf": {"iter_max": 3}}], ids=["same settings", "other settings"])
@pytest.mark.parametrize("write", range(1, START_WRITES + 1))
def test_a_rerun_that_is_killed_at_its_start_loses_no_file_of_the_completed_run(prepared, pool, write, changed):
    made, rerun = make_run(prepared(), pool), make_run(prepared(**changed), pool)
    store, name = made.run.config.store, made.run.config.name
    write_run_files(made)
    files = {path.name: path.read_bytes() for path in folder_of(made.run).iterdir()}
    assert record_and_kill(rerun, write, "after", at="start")

    unused = {file.uri for files in find_garbage(store, 0, time.time() + DAY).values() for file in files}
    if write >= START_WRITES - 1:
        assert read_run(store, name).interrupted
        assert unused.isdisjoint(record.uri for record in rerun.records.values())
    else:  # run.json is still that of the completed run
        with pytest.raises(BrokenArtifactError, match=r"manifest\.parquet is missing: run again"):
            read_run(store, name)
        assert unused.isdisjoint(record.uri for record in made.records.values())

    with pytest.raises(StageError), record_run(rerun.run):
        raise StageError("too many photos failed")
    (history,) = (folder_of(made.run) / "history").iterdir()
    assert {path.name: path.read_bytes() for path in history.iterdir()} == files
    write_run_files(rerun)
    assert read_run(store, name).state == "completed"
    assert history.exists() == bool(changed)


def test_the_start_of_a_rerun_has_seven_writes(prepared, pool):
    """So the test above kills the process at each of them; the next write is that of status.parquet."""
    made = make_run(prepared(), pool)
    write_run_files(made)
    assert record_and_kill(made, START_WRITES + 1, "after", at="start")
    assert run_files(made.run).find("status.parquet") is not None


def test_the_end_of_a_run_has_five_writes(prepared, pool):
    """So the test above kills the process at each of them."""
    made = make_run(prepared(), pool)
    assert not record_and_kill(made, 6, "before")
    assert read_run(made.run.config.store, "tiny").run["state"] == "completed"


def test_a_run_whose_metrics_cannot_be_computed_has_failed(prepared, pool, tiny):
    tiny.add("e", truth="e.png")
    made = make_run(prepared(until="mask_scores"), pool)
    with ExitStack() as stack:
        stack.enter_context(pytest.raises(BrokenArtifactError))
        write_down(stack.enter_context(record_run(made.run)), made)
        Path(made.of("mask_scores")[0].uri).write_bytes(b"damaged")
    status = read_run(made.run.config.store, "tiny")
    assert status.run["state"] == "failed"
    assert made.of("mask_scores")[0].uri in status.run["error"]
    assert len(status.shards) == 7


@pytest.mark.slow
def test_a_store_outage_at_the_end_does_not_fail_a_good_run(prepared, tmp_path, monkeypatch, caplog):
    server = S3Server(tmp_path)
    server.start()
    server.make_bucket(BUCKET)
    for name, value in {**server.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():  # no retries by botocore
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    run = replace(prepared(execution={"retries": 9}), store=ArtifactStore(f"s3://{BUCKET}/store"))

    def come_back():
        while "Retrying" not in caplog.text:
            time.sleep(0.1)
        server.start()

    coming_back = threading.Thread(target=come_back)
    try:
        with record_run(run):
            server.kill()
            coming_back.start()
        coming_back.join()
        assert "Could not connect to the endpoint URL" in caplog.text
        assert read_run(run.store.uri, "tiny").run["state"] == "completed"
    finally:
        server.kill()
        S3FileSystem.clear_instance_cache()
