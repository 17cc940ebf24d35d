"""Runs that are stopped, killed, or lose a worker or the server in the middle: nothing is lost, nothing is left."""

import json
import os
import signal
import sqlite3
import time

import psutil
import pyarrow.parquet as pq
import pytest
from process_watch import gone_within, started_in

from tasks.artifact_store import ArtifactStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHARDS, PHOTOS = 6, 18
SHARDED = ("cams", "masks", "mask_scores")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, configs, real_data, golden):
    """`clipes run` on some real photos, a few seconds of work in each stage."""
    ids = (real_data / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:PHOTOS]
    split = tmp_path_factory.mktemp("split") / "some.txt"
    split.write_text("\n".join(ids) + "\n")
    return (
        *("run", str(configs / "voc12.yaml")),
        *("--set", f"dataset.root={real_data}", "--set", f"dataset.split={split}"),
        *("--set", f"clip.pretrained={golden / 'small_vit.pt'}", "--set", "crf.iter_max=1"),
        *("--set", f"execution.shards={SHARDS}"),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, clipes_in, arguments):
    """Stage -> image id -> row of a run that nothing happened to."""
    clipes = clipes_in(tmp_path_factory.mktemp("undisturbed"))
    done = clipes(*arguments)
    assert done.returncode == 0, done.stderr
    return rows(clipes.folder)


@pytest.fixture
def alone(clipes):
    """The command without a server that is named; what it starts is known by its PREFECT_HOME."""
    home = clipes.folder / "prefect"
    return type(clipes)(clipes.folder, {**clipes.environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(home)})


def rows(folder):
    status = pq.read_table(folder / "clipes-store" / "runs" / "voc12" / "status.parquet").to_pylist()
    store = ArtifactStore(str(folder / "clipes-store"))
    return {
        stage: {
            row["image_id"]: row
            for shard in status
            if shard["stage"] == stage
            for row in store.read_rows(shard["artifact"])
        }
        for stage in SHARDED
    }


def artifacts(folder, stage):
    return list((folder / "clipes-store" / "artifacts" / stage).glob("*/[0-9]*.parquet"))


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def in_the_middle(clipes, arguments, stage):
    """Start a run, and return it when the first shard of a stage is made."""
    process = clipes.start(*arguments)
    wait_for(lambda: artifacts(clipes.folder, stage) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def run_file(clipes, name):
    return json.loads((clipes.folder / "clipes-store" / "runs" / "voc12" / name).read_text())


def states(home):
    """States of the flow runs and of the task runs in Prefect's database, oldest flow run first."""
    with sqlite3.connect(f"file:{home / 'prefect.db'}?mode=ro", uri=True) as database:
        flow_runs = database.execute("select state_type from flow_run order by created").fetchall()
        task_runs = database.execute("select distinct state_type from task_run").fetchall()
    return [state for (state,) in flow_runs], {state for (state,) in task_runs}


def check_resumed(clipes, arguments, undisturbed):
    """The same command again makes what is missing, and the whole is that of an undisturbed run."""
    before = {stage: len(artifacts(clipes.folder, stage)) for stage in SHARDED}
    assert sum(before.values()) < SHARDS * len(SHARDED), "it was not in the middle any more"
    again = clipes(*arguments)
    assert again.returncode == 0, again.stderr
    stages = run_file(clipes, "metrics.json")["stages"]
    assert {stage: stages[stage]["computed_shards"] for stage in SHARDED} == {
        stage: SHARDS - before[stage] for stage in SHARDED
    }
    assert rows(clipes.folder) == undisturbed
    assert run_file(clipes, "run.json")["state"] == "completed"


def check_records(clipes, *ends):
    """How the flow runs ended, the last ones; nothing goes on in Prefect's records, and no process is left."""
    home = clipes.folder / "prefect"
    assert gone_within(10, started_in(home))
    flow_runs, task_runs = states(home)
    assert tuple(flow_runs[-len(ends) :]) == ends
    assert not {*flow_runs, *task_runs} & {"RUNNING", "CANCELLING"}


@pytest.mark.parametrize(("sent", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_run_that_is_stopped_says_so_and_resumes(alone, arguments, undisturbed, sent, to_all):
    process = in_the_middle(alone, arguments, "cams")
    if to_all:
        os.killpg(process.pid, sent)  # as a terminal does with Ctrl-C: to all processes of the job
    else:
        process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted; what is done is kept" in error
    assert "Traceback" not in error
    assert gone_within(10, started_in(alone.folder / "prefect"))
    assert run_file(alone, "run.json")["state"] == "cancelled"
    check_resumed(alone, arguments, undisturbed)
    check_records(alone, "CRASHED", "COMPLETED")


def test_a_run_that_is_killed_leaves_no_process_and_resumes(alone, arguments, undisturbed):
    process = in_the_middle(alone, arguments, "cams")
    process.kill()
    process.communicate()
    assert gone_within(10, started_in(alone.folder / "prefect"))
    assert alone("status", "voc12").stdout.startswith("run voc12: interrupted")
    check_resumed(alone, arguments, undisturbed)
    check_records(alone, "CRASHED", "COMPLETED")


def test_a_worker_that_is_killed_costs_an_attempt_of_a_shard(clipes, arguments, undisturbed):
    process = in_the_middle(clipes, arguments, "masks")
    worker = next(child for child in busiest_first(process.pid) if "spawn_main" in " ".join(child.cmdline()))
    worker.kill()
    _, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    assert rows(clipes.folder) == undisturbed
    status = pq.read_table(clipes.folder / "clipes-store" / "runs" / "voc12" / "status.parquet").to_pylist()
    assert sorted(shard["attempt"] for shard in status)[-2:] in ([1, 1], [1, 2])


def busiest_first(pid):
    children = psutil.Process(pid).children(recursive=True)
    return sorted(children, key=lambda child: -sum(child.cpu_times()[:2]))


def test_a_server_that_is_killed_is_replaced_and_the_run_goes_on(alone, arguments, undisturbed):
    process = in_the_middle(alone, arguments, "cams")
    record = json.loads((alone.folder / "prefect" / "clipes-server" / "server.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    assert "the Prefect server died" in error
    assert rows(alone.folder) == undisturbed
    check_records(alone, "COMPLETED")


def test_two_runs_at_once_share_a_server_that_outlives_the_first(alone, arguments):
    first = alone.start(*arguments, "--until", "texts")
    second = alone.start(*arguments, "--name", "second")
    errors = [process.communicate(timeout=400)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], errors
    log = (alone.folder / "prefect" / "clipes-server" / "server.log").read_text()
    assert log.count("Check out the dashboard") == 1
    check_records(alone, "COMPLETED", "COMPLETED")
