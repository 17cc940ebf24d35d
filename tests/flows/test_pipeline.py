"""The flow in this process: what Prefect's database says of its task runs."""

import os

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from clipes.flows.pipeline import pipeline
from clipes.tasks.inputs.configs import load_config


@pytest.fixture
def config(golden_arguments, tmp_path):
    path, *rest = golden_arguments[1:]
    overrides = [text for text in rest if text != "--set"]
    return load_config(path, [*overrides, f"store={tmp_path / 'store'}", "crf.enabled=false", "name=seen"])


def task_runs(flow_name):
    """Name and state name of the task runs of the newest flow run of this name."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[flow_name])))
        newest = max(runs, key=lambda run: run.created)
        assert newest.state_name == "Completed"
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [newest.id]}))
    return {task.name: task.state_name for task in tasks}


def test_each_shard_is_a_named_task_run_and_reused_ones_are_cached(server, config):
    summary = pipeline(config)
    names = {
        "texts 000/001",
        *(f"{stage} {shard}/002" for stage in ("cams", "masks", "mask_scores") for shard in ("000", "001")),
    }
    assert task_runs("seen") == dict.fromkeys(names, "Completed")
    assert summary.metrics["stages"]["masks"]["computed_rows"] == 9

    pipeline(config)
    assert task_runs("seen") == dict.fromkeys(names, "Cached")
    assert os.listdir(config.store)  # noqa: PTH208
