"""The flow `pipeline`, run inside this process: its task runs, its call stack and its errors."""

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pebble import ProcessFuture
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from support.frames import project_frames

from clipes.flows.pipeline import pipeline
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.stages.texts import TEXTS
from clipes_core.config.execution import RunnerConfig
from clipes_core.errors import ConfigError, StageError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(scene_arguments, tmp_path):
    path, *rest = scene_arguments[1:]
    overrides = [text for text in rest if text != "--set"]
    return load_config(path, [*overrides, f"store={tmp_path / 'store'}", "crf.enabled=false", "name=seen"])


def task_runs(flow_name, state="Completed"):
    """Return the name and the state name of each task run of the newest flow run with this name.

    Also check the state of the flow run.
    """
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[flow_name])))
        newest = max(runs, key=lambda run: run.created)
        assert newest.state_name == state
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [newest.id]}))
    return {task.name: task.state_name for task in tasks}


def test_each_shard_is_a_named_task_run_and_all_cached_shards_of_a_stage_share_one(server, config):
    summary = pipeline(config)
    names = {
        "texts 000/001",
        *(f"{stage} {shard}/002" for stage in ("cams", "masks", "mask_scores") for shard in ("000", "001")),
    }
    assert task_runs("seen") == dict.fromkeys(names, "Completed")
    assert summary.metrics["stages"]["masks"]["computed_rows"] == 9

    again = pipeline(config)
    assert task_runs("seen") == {
        "texts: 1 of 1 cached": "Cached",
        "cams: 2 of 2 cached": "Cached",
        "masks: 2 of 2 cached": "Cached",
        "mask_scores: 2 of 2 cached": "Cached",
    }
    counts = again.metrics["stages"]["masks"]
    assert [counts[key] for key in ("images", "shards", "cached_shards", "computed_rows")] == [9, 2, 2, 0]
    assert again.metrics["pseudo_mask"] == summary.metrics["pseudo_mask"]
    assert os.listdir(config.store)  # noqa: PTH208


def test_prefect_does_not_warn_of_dead_locks_with_one_worker(server, config, caplog):
    execution = config.execution.model_copy(update={"gpu_workers": 1, "cpu_workers": 1})
    pipeline(config.model_copy(update={"execution": execution}), "masks")
    assert "Beginning flow run 'seen'" in caplog.text
    assert "dead-locks" not in caplog.text


def test_only_missing_shards_have_task_runs_of_their_own(server, config):
    pipeline(config)
    missing = next(path for path in Path(config.store).glob("artifacts/masks/*/001-*.parquet"))
    whole = pq.read_table(missing)
    missing.unlink()

    pipeline(config)
    assert pq.read_table(missing) == whole  # the bytes differ: the footer states how long the shard took
    assert task_runs("seen") == {
        "texts: 1 of 1 cached": "Cached",
        "cams: 2 of 2 cached": "Cached",
        "masks: 1 of 2 cached": "Cached",
        "masks 001/002": "Completed",
        "mask_scores: 1 of 2 cached": "Cached",
        "mask_scores 001/002": "Cached",  # it was found when the masks were made again
    }


def test_shards_that_are_verified_have_task_runs_of_their_own(server, config):
    pipeline(config, "cams")
    pipeline(config, "cams", verify=True)
    assert task_runs("seen") == dict.fromkeys(("texts 000/001", "cams 000/002", "cams 001/002"), "Cached")


def test_too_many_failed_photos_in_cached_shards_fail_the_run(server, config, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(config.dataset.root, photos)
    for path in sorted((photos / "JPEGImages").iterdir())[:2]:
        path.write_bytes(b"no photo")
    dataset = config.dataset.model_copy(update={"root": str(photos)})

    def run(rate):
        execution = config.execution.model_copy(update={"max_failure_rate": rate})
        return pipeline(config.model_copy(update={"dataset": dataset, "execution": execution}))

    assert run(0.5).rejects == 2
    with pytest.raises(StageError, match=r"cams: 2 of 9 photos failed, more than 0, the limit of .+_rate=0; "):
        run(0)
    runs = task_runs("seen", "Failed")
    assert runs.pop("texts: 1 of 1 cached") == "Cached"
    assert runs.pop("cams: 2 of 2 cached") == "Failed"
    assert {*runs.values()} == {"NotRun"}


def test_few_frames_separate_submitting_a_stage_from_its_code(server, config, monkeypatch):
    """Check that a debugger shows only the functions of the project that docs/architecture.md lists."""
    found = []

    def rows(job):
        found.append(project_frames())
        yield from made(job)

    made = TEXTS.rows
    monkeypatch.setattr(TEXTS, "rows", rows)
    pipeline(with_runner(config, "inline"), until="texts")

    (frames,) = found
    listed = (ROOT / "docs" / "architecture.md").read_text()
    assert frames == ["prefect_task.shard_task", "stage_shards.make", "inline_runner.run", "make_shard.make_shard"]
    assert len(["scheduler.submit", *frames]) <= 6
    assert all(f"`{frame.partition('.')[2]}`" in listed for frame in frames if frame != "inline_runner.run")


def test_the_local_runner_waits_for_a_job_in_few_frames(server, config, monkeypatch):
    found = []

    def result(future, *arguments):
        found.append(project_frames())
        return wait(future, *arguments)

    wait = ProcessFuture.result
    monkeypatch.setattr(ProcessFuture, "result", result)
    pipeline(with_runner(config, "local"), until="texts", fresh=True)
    assert found == [["prefect_task.shard_task", "stage_shards.make", "local_runner.run"]]


@pytest.mark.parametrize(
    ("kind", "until", "message"),
    [("cluster", "masks", r"^execution\.runner\.kind: Input"), ("inline", "mask", "^--until mask: no such stage")],
)
def test_an_invalid_request_is_reported_before_photos_are_listed(server, config, kind, until, message):
    nowhere = config.model_copy(update={"dataset": config.dataset.model_copy(update={"root": "/none"})})
    with pytest.raises(ConfigError, match=message):
        pipeline(with_runner(nowhere, kind), until=until)


def with_runner(config, kind):
    execution = config.execution.model_copy(update={"runner": RunnerConfig(kind=kind)})
    return config.model_copy(update={"execution": execution})
