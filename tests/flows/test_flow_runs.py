import contextvars
import os
import socket
import threading

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext
from prefect.states import AwaitingRetry, Cancelling, Completed, Crashed, Failed, Running

from clipes.flows import flow_runs
from clipes.flows.flow_runs import (
    HOST,
    PID,
    PID_STARTED,
    claim_flow_run,
    completed,
    keep_sigterm_handler,
    mark_crashed,
    wait_for_retry,
)
from clipes.tasks.machine.processes import started_at

HERE = socket.gethostname()


@flow(name="claimed", on_running=[claim_flow_run])
def claimed_flow():
    """Do nothing, in a flow run that records its process."""


@task(name="shard")
def shard():
    """Do nothing; the tests only create records of this task."""


@pytest.fixture
def client(server):
    with get_client(sync_client=True) as client:
        yield client


def create_active_run(client, host, pid, started):
    """Create a flow run with one task run, both recorded as running in a process."""
    run = client.create_flow_run(claimed_flow, state=Running())
    client.update_flow_run_labels(run.id, {HOST: host, PID: pid, PID_STARTED: started})
    client.create_task_run(shard, run.id, dynamic_key="0", state=Running())
    return run


def states(client, run):
    (task_run,) = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run.id]}))
    return client.read_flow_run(run.id).state.type, task_run.state.type


def test_a_run_records_its_process(client):
    state = claimed_flow(return_state=True)
    labels = client.read_flow_run(state.state_details.flow_run_id).labels
    assert (labels[HOST], labels[PID]) == (HERE, os.getpid())
    assert labels[PID_STARTED] == pytest.approx(started_at(os.getpid()))


def test_a_run_of_a_dead_process_is_marked_crashed_with_its_tasks(client):
    dead = create_active_run(client, HERE, os.getpid(), started_at(os.getpid()) - 600)
    assert dead.name in mark_crashed(client)
    assert states(client, dead) == (StateType.CRASHED, StateType.CANCELLED)
    (task_run,) = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [dead.id]}))
    assert task_run.state.name == "NotRun"
    assert task_run.state.message.startswith("not run: the process ended without reporting its state")
    assert dead.name not in mark_crashed(client)


@pytest.mark.parametrize("host", [HERE, "elsewhere"])
def test_running_runs_and_runs_of_other_hosts_are_not_marked(client, host):
    before = 0 if host == HERE else 600
    run = create_active_run(client, host, os.getpid(), started_at(os.getpid()) - before)
    assert mark_crashed(client) == []
    assert states(client, run) == (StateType.RUNNING, StateType.RUNNING)
    client.delete_flow_run(run.id)


def test_an_earlier_run_of_this_process_is_marked_crashed(client):
    left = create_active_run(client, HERE, os.getpid(), started_at(os.getpid()))
    claimed_flow()
    assert states(client, left) == (StateType.CRASHED, StateType.CANCELLED)


def test_a_run_that_calls_another_run_is_not_marked_crashed(client):
    @flow(name="calling", on_running=[claim_flow_run])
    def calling() -> StateType:
        claimed_flow()
        return client.read_flow_run(FlowRunContext.get().flow_run.id).state.type

    assert calling() == StateType.RUNNING


def test_runs_of_the_command_line_have_a_tag(client):
    state = keep_sigterm_handler(claimed_flow)(return_state=True)
    assert {*client.read_flow_run(state.state_details.flow_run_id).tags} == {"clipes", "cli"}


def test_the_message_of_a_completed_flow_run_is_its_result(client):
    @flow(name="counting")
    def counting() -> int:
        return completed(7, "7 masks")

    state = counting(return_state=True)
    assert client.read_flow_run(state.state_details.flow_run_id).state.message == "7 masks"
    assert counting() == state.result() == 7


def create_deployment_run(client, state):
    deployment = client.create_deployment(client.create_flow(claimed_flow), name="claimed")
    return client.create_flow_run_from_deployment(deployment, state=state)


def test_a_retry_leaves_no_failed_task_runs_of_earlier_attempts(client, monkeypatch):
    monkeypatch.setattr(flow_runs, "PAGE", 2)
    run = create_deployment_run(client, Running())
    made = (Failed(message="no room"), Crashed(), Completed(), Failed(), Running(), AwaitingRetry())
    for number, state in enumerate(made):
        client.create_task_run(shard, run.id, dynamic_key=str(number), state=state)
    claim_flow_run(claimed_flow, run, run.state)
    chosen = FlowRunFilter(id={"any_": [run.id]})
    task_runs = {task.dynamic_key: task.state for task in client.read_task_runs(flow_run_filter=chosen)}
    assert {key: state.name for key, state in task_runs.items()} == {
        **dict.fromkeys("01345", "Retried"),
        "2": "Completed",
    }
    assert task_runs["0"].type == StateType.CANCELLED
    assert task_runs["0"].message == "the run was retried. Failed: no room"
    client.delete_flow_run(run.id)


def test_a_deployment_run_that_is_being_cancelled_is_not_marked(client):
    run = create_deployment_run(client, Running())
    client.update_flow_run_labels(run.id, {HOST: HERE, PID: os.getpid(), PID_STARTED: started_at(os.getpid()) - 600})
    client.set_flow_run_state(run.id, Cancelling(), force=True)
    assert mark_crashed(client) == []
    client.delete_flow_run(run.id)


def test_a_run_of_another_program_is_not_marked(client):
    run = client.create_flow_run(claimed_flow, state=Running())
    assert mark_crashed(client) == []
    client.delete_flow_run(run.id)


def test_the_crash_hook_waits_for_the_end_of_a_retry(client, monkeypatch):
    monkeypatch.setattr(flow_runs, "RETRY_POLL_SECONDS", 0.01)
    run = create_deployment_run(client, Running())
    hook = threading.Thread(target=contextvars.copy_context().run, args=(wait_for_retry, claimed_flow, run, Crashed()))
    hook.start()
    hook.join(0.5)
    assert hook.is_alive()
    client.set_flow_run_state(run.id, Completed(), force=True)
    hook.join()


def test_the_crash_hook_gives_up_if_no_worker_takes_the_retry(client, monkeypatch, caplog):
    monkeypatch.setattr(flow_runs, "TAKEN_SECONDS", 0.0)
    run = create_deployment_run(client, AwaitingRetry())
    wait_for_retry(claimed_flow, run, Crashed())
    assert caplog.messages == [f"no worker has taken the retry of the flow run {run.name}: retry it again"]
    client.delete_flow_run(run.id)


def test_the_crash_hook_does_not_ask_the_server_about_a_run_of_the_command_line(client):
    run = client.create_flow_run(claimed_flow, state=Running())
    wait_for_retry(claimed_flow, run, Crashed())  # returns, although the run is still active
    client.delete_flow_run(run.id)
