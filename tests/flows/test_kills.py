"""Runs that are stopped, killed, or lose a worker or the server in the middle: nothing is lost, nothing is left."""

import json
import os
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from support.disturbed_runs import SHARDS, artifacts, check_resumed, in_the_middle, rows, run_file
from support.process_watch import gone_within, started_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def clipes(clipes_process):
    """The command as a process of its own."""
    return clipes_process


@pytest.fixture
def alone(clipes):
    """The command without a server that is named; what it starts is known by its PREFECT_HOME."""
    home = clipes.folder / "prefect"
    return type(clipes)(clipes.folder, {**clipes.environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(home)})


def states(home):
    """States of the flow runs and of the task runs in Prefect's database, oldest flow run first."""
    with sqlite3.connect(f"file:{home / 'prefect.db'}?mode=ro", uri=True) as database:
        flow_runs = database.execute("select state_type from flow_run order by created").fetchall()
        task_runs = database.execute("select distinct state_type from task_run").fetchall()
    return [state for (state,) in flow_runs], {state for (state,) in task_runs}


def check_records(clipes, *ends):
    """How the flow runs ended, the last ones; nothing goes on in Prefect's records, and no process is left."""
    home = clipes.folder / "prefect"
    assert gone_within(10, started_in(home))
    flow_runs, task_runs = states(home)
    assert tuple(flow_runs[-len(ends) :]) == ends
    assert not {*flow_runs, *task_runs} & {"RUNNING", "CANCELLING"}


def server_pid(clipes):
    return json.loads((clipes.folder / "prefect" / "clipes-server" / "server.json").read_text())["pid"]


@pytest.fixture
def store(clipes):
    return clipes.folder / "clipes-store"


CTRL_C = [(os.killpg, signal.SIGINT)]  # a terminal sends it to all processes of the job


@pytest.mark.parametrize(
    "sent",
    [CTRL_C, CTRL_C * 2, [(os.kill, signal.SIGTERM)], [(os.killpg, signal.SIGTERM)]],
    ids=["ctrl-c", "ctrl-c passed on by its parent", "sigterm", "sigterm to all"],
)
def test_a_run_that_is_stopped_says_so_and_resumes(alone, store, some_photos, undisturbed, sent):
    process = in_the_middle(alone, some_photos, store)
    for send, number in sent:
        send(process.pid, number)
        time.sleep(0.1)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted; finished work is kept" in error
    assert "Traceback" not in error
    assert gone_within(10, started_in(alone.folder / "prefect"))
    assert run_file(store, "run.json")["state"] == "cancelled"
    check_resumed(alone, some_photos, store, undisturbed)
    check_records(alone, "CRASHED", "COMPLETED")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_at_once(alone, store, some_photos, undisturbed, number):
    process = in_the_middle(alone, some_photos, store)
    server = psutil.Process(server_pid(alone))
    server.suspend()  # closing the run waits for it
    while process.poll() is None:  # in the first second all count as one
        os.killpg(process.pid, number)
        time.sleep(0.1)
    server.resume()
    _, error = process.communicate()
    assert process.returncode == 130, error
    assert "clipes: ended at once; finished work is kept" in error
    assert "Traceback" not in error
    assert gone_within(10, started_in(alone.folder / "prefect"))
    check_resumed(alone, some_photos, store, undisturbed)


def test_a_run_that_is_killed_leaves_no_process_and_resumes(alone, store, some_photos, undisturbed):
    process = in_the_middle(alone, some_photos, store)
    process.kill()
    process.communicate()
    assert gone_within(10, started_in(alone.folder / "prefect"))
    assert alone("status", "voc12").stdout.startswith("run voc12: interrupted")
    check_resumed(alone, some_photos, store, undisturbed)
    check_records(alone, "CRASHED", "COMPLETED")


def test_a_worker_that_is_killed_costs_one_attempt_of_one_shard(alone, store, some_photos, undisturbed):
    process = in_the_middle(alone, (*some_photos, "--set", "execution.cpu_workers=2"), store, "masks")
    while len(artifacts(store, "cams")) < SHARDS:
        time.sleep(0.02)
    worker = suspended_while_it_writes(process, store / "artifacts" / "masks")
    while len(artifacts(store, "masks")) < SHARDS - 1:  # the other worker makes all but the one that this one holds
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    worker.kill()
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    assert rows(store) == rows(undisturbed)
    status = pq.read_table(store / "runs" / "voc12" / "status.parquet").to_pylist()
    assert sorted(shard["attempt"] for shard in status if shard["attempt"] != 1) == [2]
    check_records(alone, "COMPLETED")


def suspended_while_it_writes(command, folder):
    """Suspend a worker of a command while it makes an artifact in a folder, and return the worker."""
    while True:
        assert command.poll() is None, command.communicate()
        for worker in psutil.Process(command.pid).children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                worker.suspend()
                if any(Path(file.path).is_relative_to(folder) for file in worker.open_files()):
                    return worker
                worker.resume()


def test_a_server_that_is_killed_is_replaced_and_the_run_goes_on(alone, store, some_photos, undisturbed):
    process = in_the_middle(alone, some_photos, store)
    os.kill(server_pid(alone), signal.SIGKILL)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    assert "the Prefect server died" in error
    assert rows(store) == rows(undisturbed)
    check_records(alone, "COMPLETED")


def test_two_runs_at_once_share_a_server_that_outlives_the_first(alone, store, some_photos):
    first = alone.start(*some_photos, "--store", str(store), "--until", "texts")
    second = alone.start(*some_photos, "--store", str(store), "--name", "second")
    errors = [process.communicate(timeout=400)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], errors
    log = (alone.folder / "prefect" / "clipes-server" / "server.log").read_text()
    assert log.count("Check out the dashboard") == 1
    check_records(alone, "COMPLETED", "COMPLETED")
