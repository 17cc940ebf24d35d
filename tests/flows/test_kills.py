"""Runs that are stopped or killed, or that lose a worker or the server: they resume, and leave no process behind."""

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
from support.disturbed_runs import SHARDS, artifacts, check_resumed, rows, run_file, start_and_wait_for_shard
from support.process_watch import all_end_within, processes_of_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


@pytest.fixture
def clipes_with_own_server(clipes):
    """Return the command without PREFECT_API_URL, so that it starts a server; PREFECT_HOME marks its processes."""
    home = clipes.folder / "prefect"
    return type(clipes)(clipes.folder, {**clipes.environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(home)})


def states(home):
    """Return the states of the flow runs, oldest first, and of the task runs in Prefect's database."""
    with sqlite3.connect(f"file:{home / 'prefect.db'}?mode=ro", uri=True) as database:
        flow_runs = database.execute("select state_type from flow_run order by created").fetchall()
        task_runs = database.execute("select distinct state_type from task_run").fetchall()
    return [state for (state,) in flow_runs], {state for (state,) in task_runs}


def check_records(clipes, *ends):
    """Check the states of the last flow runs, and that no process and no run is still active."""
    home = clipes.folder / "prefect"
    assert all_end_within(10, processes_of_home(home))
    flow_runs, task_runs = states(home)
    assert tuple(flow_runs[-len(ends) :]) == ends
    assert not {*flow_runs, *task_runs} & {"RUNNING", "CANCELLING"}


def server_pid(clipes):
    return json.loads((clipes.folder / "prefect" / "clipes-server" / "server.json").read_text())["pid"]


@pytest.fixture
def store(clipes):
    return clipes.folder / "clipes-store"


CTRL_C = [(os.killpg, signal.SIGINT)]  # a terminal sends SIGINT to all processes of the job


@pytest.mark.parametrize(
    "sent",
    [CTRL_C, CTRL_C * 2, [(os.kill, signal.SIGTERM)], [(os.killpg, signal.SIGTERM)]],
    ids=["ctrl-c", "ctrl-c repeated by the parent", "sigterm", "sigterm to all processes"],
)
def test_an_interrupted_run_reports_this_and_resumes(
    clipes_with_own_server, store, long_run_arguments, uninterrupted_store, sent
):
    process = start_and_wait_for_shard(clipes_with_own_server, long_run_arguments, store)
    for send, number in sent:
        send(process.pid, number)
        time.sleep(0.1)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted; finished work is kept" in error
    assert "Traceback" not in error
    assert all_end_within(10, processes_of_home(clipes_with_own_server.folder / "prefect"))
    assert run_file(store, "run.json")["state"] == "cancelled"
    shards = pq.read_table(store / "runs" / "voc12" / "status.parquet").to_pylist()
    assert {shard["state"] for shard in shards} <= {"completed", "not_run"}
    reasons = {shard["reason"] for shard in shards if shard["state"] == "not_run"}
    assert "not run: the run was stopped" in reasons
    check_resumed(clipes_with_own_server, long_run_arguments, store, uninterrupted_store)
    check_records(clipes_with_own_server, "CRASHED", "COMPLETED")
    assert states(clipes_with_own_server.folder / "prefect")[1] <= {"COMPLETED", "CANCELLED"}  # so no shard is red


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_at_once(
    clipes_with_own_server, store, long_run_arguments, uninterrupted_store, number
):
    process = start_and_wait_for_shard(clipes_with_own_server, long_run_arguments, store)
    server = psutil.Process(server_pid(clipes_with_own_server))
    server.suspend()  # the run waits for the server while it closes
    while process.poll() is None:  # signals in the first second count as one
        os.killpg(process.pid, number)
        time.sleep(0.1)
    server.resume()
    _, error = process.communicate()
    assert process.returncode == 130, error
    assert "clipes: ended at once; finished work is kept" in error
    assert "Traceback" not in error
    assert all_end_within(10, processes_of_home(clipes_with_own_server.folder / "prefect"))
    check_resumed(clipes_with_own_server, long_run_arguments, store, uninterrupted_store)


def test_a_killed_run_leaves_no_process_and_resumes(
    clipes_with_own_server, store, long_run_arguments, uninterrupted_store
):
    process = start_and_wait_for_shard(clipes_with_own_server, long_run_arguments, store)
    process.kill()
    process.communicate()
    assert all_end_within(10, processes_of_home(clipes_with_own_server.folder / "prefect"))
    assert clipes_with_own_server("status", "voc12").stdout.startswith("run voc12: interrupted")
    check_resumed(clipes_with_own_server, long_run_arguments, store, uninterrupted_store)
    check_records(clipes_with_own_server, "CRASHED", "COMPLETED")


def test_a_killed_worker_costs_one_attempt_of_one_shard(
    clipes_with_own_server, store, long_run_arguments, uninterrupted_store
):
    process = start_and_wait_for_shard(
        clipes_with_own_server, (*long_run_arguments, "--set", "execution.cpu_workers=2"), store, "masks"
    )
    while len(artifacts(store, "cams")) < SHARDS:
        time.sleep(0.02)
    worker = suspend_writing_worker(process, store / "artifacts" / "masks")
    while len(artifacts(store, "masks")) < SHARDS - 1:  # the other worker makes all other shards
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    worker.kill()
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    assert rows(store) == rows(uninterrupted_store)
    status = pq.read_table(store / "runs" / "voc12" / "status.parquet").to_pylist()
    assert sorted(shard["attempt"] for shard in status if shard["attempt"] != 1) == [2]
    check_records(clipes_with_own_server, "COMPLETED")


def suspend_writing_worker(command, folder):
    """Suspend a worker of the command while it writes an artifact to the folder, and return its process."""
    while True:
        assert command.poll() is None, command.communicate()
        for worker in psutil.Process(command.pid).children():
            with suppress(psutil.NoSuchProcess):  # the worker has just ended
                worker.suspend()
                if any(Path(file.path).is_relative_to(folder) for file in worker.open_files()):
                    return worker
                worker.resume()


def test_a_killed_server_is_replaced_and_the_run_completes(
    clipes_with_own_server, store, long_run_arguments, uninterrupted_store
):
    process = start_and_wait_for_shard(clipes_with_own_server, long_run_arguments, store)
    os.kill(server_pid(clipes_with_own_server), signal.SIGKILL)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    assert "the Prefect server died" in error
    assert rows(store) == rows(uninterrupted_store)
    check_records(clipes_with_own_server, "COMPLETED")


def test_two_runs_share_a_server_that_outlives_the_first_run(clipes_with_own_server, store, long_run_arguments):
    first = clipes_with_own_server.start(*long_run_arguments, "--store", str(store), "--until", "texts")
    second = clipes_with_own_server.start(*long_run_arguments, "--store", str(store), "--name", "second")
    errors = [process.communicate(timeout=400)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], errors
    log = (clipes_with_own_server.folder / "prefect" / "clipes-server" / "server.log").read_text()
    assert log.count("Check out the dashboard") == 1
    check_records(clipes_with_own_server, "COMPLETED", "COMPLETED")
