"""What Prefect says of the task runs of shards: names, tags, logs, attempts and end states."""

import time
from itertools import count
from pathlib import Path

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, LogFilter
from small_runs import TinyPhotos

from clipes_core.errors import StageError
from flows.pipeline import pipeline
from tasks.keys import shard_of
from tasks.preparation import prepare_run
from tasks.run_files import read_run
from tasks.stages import STAGES

SHARDS = 4000  # so that a task run takes two


@pytest.fixture
def three(tmp_path, real_data, golden):
    """Three photos: in shards 0 and 1, which one task run takes, and in shard 2."""
    source = Image.open(real_data / "JPEGImages" / "2007_000068.jpg").convert("RGB")
    photos = TinyPhotos(tmp_path, source, golden / "small_vit.pt")
    for shard in range(3):
        photos.add(next(name for name in map(str, count()) if shard_of(name, SHARDS) == shard))
    return photos


def config_of(photos, **execution):
    config = photos.config(execution={"shards": SHARDS, **execution})
    return config.model_copy(update={"name": photos.folder.name})


def flow_run(client, name):
    (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return run


def seen(client, name):
    """The task runs of the only flow run of a name, by their names, when all have ended."""
    chosen, until = FlowRunFilter(id={"any_": [flow_run(client, name).id]}), time.monotonic() + 60
    while time.monotonic() < until:
        runs = {run.name: run for run in client.read_task_runs(flow_run_filter=chosen)}
        if all(run.state.is_final() for run in runs.values()):
            return runs
        time.sleep(0.2)
    raise AssertionError(f"still on: {[run.name for run in runs.values() if not run.state.is_final()]}")


def log_of(client, run, text):
    """What a task run has logged, when a text is there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        log = "\n".join(line.message for line in client.read_logs(LogFilter(task_run_id={"any_": [run.id]})))
        if text in log:
            return log
        time.sleep(0.2)
    raise AssertionError(f"{text!r} is not in:\n{log}")


def states(photos, stage):
    """Shard -> state and attempt, as status.parquet has them."""
    status = read_run(str(photos.folder / "store"), photos.folder.name)
    return {row["shard"]: (row["state"], row["attempt"]) for row in status.shards if row["stage"] == stage}


def test_a_failed_shard_stops_what_stands_on_it_and_nothing_else(server, three):
    config = config_of(three)
    run = prepare_run(config, "masks")
    taken = Path(run.store.artifact_uri(run.plan(STAGES["cams"], 0, {}, {}).key))
    taken.mkdir(parents=True)

    with pytest.raises(StageError, match=rf"^cams shard 0: {taken} cannot be read .*: mend the store"):
        pipeline(config, "masks")

    assert states(three, "cams") == {0: ("failed", 1), 1: ("completed", 1), 2: ("completed", 1)}
    assert states(three, "masks") == {0: ("pending", 1), 1: ("completed", 1), 2: ("completed", 1)}
    with get_client(sync_client=True) as client:
        runs = seen(client, config.name)
        assert {name: run.state_name for name, run in runs.items()} == {
            "texts 000/001": "Completed",
            "cams 0000-0001/4000": "Failed",
            "cams 0002/4000": "Completed",
            "masks 0000-0001/4000": "NotRun",
            "masks 0002/4000": "Completed",
        }
        assert {run.run_count for run in runs.values()} == {1}
        assert {frozenset(run.tags) for name, run in runs.items() if "cams" in name} == {
            frozenset({"cams", config.name})
        }
        assert f"{taken} cannot be read" in runs["cams 0000-0001/4000"].state.message
        assert runs["masks 0000-0001/4000"].state.message == "not run: it reads cams shard 0, which has failed"
        assert runs["masks 0002/4000"].state.message.startswith("1 rows, 0 copied, 1 computed, 0 errors in ")
        log = log_of(client, runs["cams 0000-0001/4000"], "shard 0: attempt 1 failed: ")
        assert "shard 1: 1 rows, 0 copied, 1 computed, 0 errors in " in log
        assert " by cpu:" in log
        assert f"{taken.parent}/001-" in log
        assert "cams shard 0: " in flow_run(client, config.name).state.message
