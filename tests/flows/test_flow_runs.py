import os
import socket

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling, Running

from clipes.flows.flow_runs import HOST, PID, PID_STARTED, mark_crashed, own_flow_run
from clipes.tasks.machine.processes import started_at

HERE = socket.gethostname()


@flow(name="someone", on_running=[own_flow_run])
def someone():
    """A flow that says which process it is."""


@task(name="shard")
def shard():
    """A task that goes on when its process is killed."""


@pytest.fixture
def client(server):
    with get_client(sync_client=True) as client:
        yield client


def going_on(client, host, pid, started):
    """A flow run that is said to go on in a process, with a task run in it."""
    run = client.create_flow_run(someone, state=Running())
    client.update_flow_run_labels(run.id, {HOST: host, PID: pid, PID_STARTED: started})
    client.create_task_run(shard, run.id, dynamic_key="0", state=Running())
    return run


def states(client, run):
    (task_run,) = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run.id]}))
    return client.read_flow_run(run.id).state.type, task_run.state.type


def test_a_run_says_which_process_it_is(client):
    state = someone(return_state=True)
    labels = client.read_flow_run(state.state_details.flow_run_id).labels
    assert (labels[HOST], labels[PID]) == (HERE, os.getpid())
    assert labels[PID_STARTED] == pytest.approx(started_at(os.getpid()))


def test_a_run_whose_process_is_gone_has_crashed_and_so_have_its_tasks(client):
    gone = going_on(client, HERE, os.getpid(), started_at(os.getpid()) - 600)
    assert gone.name in mark_crashed(client)
    assert states(client, gone) == (StateType.CRASHED, StateType.CRASHED)
    assert gone.name not in mark_crashed(client)


@pytest.mark.parametrize("host", [HERE, "elsewhere"])
def test_a_run_that_goes_on_is_left_alone_and_so_is_one_of_another_machine(client, host):
    before = 0 if host == HERE else 600
    run = going_on(client, host, os.getpid(), started_at(os.getpid()) - before)
    assert mark_crashed(client) == []
    assert states(client, run) == (StateType.RUNNING, StateType.RUNNING)
    client.delete_flow_run(run.id)


def test_a_run_that_this_process_has_left_behind_has_crashed(client):
    left = going_on(client, HERE, os.getpid(), started_at(os.getpid()))
    someone()
    assert states(client, left) == (StateType.CRASHED, StateType.CRASHED)


def test_a_run_of_a_deployment_that_is_being_cancelled_is_left_to_its_worker(client):
    deployment = client.create_deployment(client.create_flow(someone), name="someone")
    run = client.create_flow_run_from_deployment(deployment, state=Running())
    client.update_flow_run_labels(run.id, {HOST: HERE, PID: os.getpid(), PID_STARTED: started_at(os.getpid()) - 600})
    client.set_flow_run_state(run.id, Cancelling(), force=True)
    assert mark_crashed(client) == []
    client.delete_flow_run(run.id)


def test_a_run_that_is_not_ours_is_left_alone(client):
    run = client.create_flow_run(someone, state=Running())
    assert mark_crashed(client) == []
    client.delete_flow_run(run.id)
