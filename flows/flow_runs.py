"""Flow runs in Prefect's records: which process each is, and the end of those whose process ended without a word."""

import logging
import os
import socket
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flows import Flow
from prefect.states import Crashed

from clipes.tasks.machine.processes import is_alive, started_at

HOST, PID, PID_STARTED = "clipes.host", "clipes.pid", "clipes.pid_started"
PAGE = 200
GOING_ON = [StateType.RUNNING, StateType.CANCELLING]

logger = logging.getLogger(__name__)


def own_flow_run(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Write down that this process is a flow run, and end those whose process is gone: a hook on Running."""
    pid = os.getpid()
    with get_client(sync_client=True) as client:
        labels: dict[str, bool | int | float | str] = {
            HOST: socket.gethostname(),
            PID: pid,
            PID_STARTED: started_at(pid),
        }
        client.update_flow_run_labels(flow_run.id, labels)
        mark_crashed(client, flow_run.id)


def mark_crashed(client: SyncPrefectClient, own: UUID | None = None) -> list[str]:
    """Mark as Crashed the runs of this machine that are said to go on although their process is gone, or at another.

    Args:
        client: of the server.
        own: the run that this process is at now, so that it is at none of the others any more.

    Returns:
        Their names.
    """
    gone = [run for run in _going_on(client) if run.id != own and _is_gone(run, own)]
    for run in gone:
        crashed: State[Any] = Crashed(message="its process ended without a word: it was killed, or the machine went")
        for task_run in client.read_task_runs(
            flow_run_filter=FlowRunFilter(id={"any_": [run.id]}),
            task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=GOING_ON))),
        ):
            client.set_task_run_state(task_run.id, crashed, force=True)
        client.set_flow_run_state(run.id, crashed, force=True)
        logger.warning("flow run %s of an earlier call is marked Crashed: its process is gone", run.name)
    return [run.name for run in gone]


def _going_on(client: SyncPrefectClient) -> Iterator[FlowRun]:
    going_on = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING_ON)))
    offset = 0
    while runs := client.read_flow_runs(flow_run_filter=going_on, limit=PAGE, offset=offset):
        yield from runs
        offset += len(runs)


def _is_gone(run: FlowRun, own: UUID | None) -> bool:
    """Whether it is one of this machine's runs of clipes, and its process is not there any more, or at another run."""
    if run.state_type == StateType.CANCELLING and run.deployment_id is not None:
        return False  # its worker ends it, and writes so
    host, pid, started = (run.labels.get(label) for label in (HOST, PID, PID_STARTED))
    if host != socket.gethostname() or pid is None or started is None:
        return False
    return (own is not None and int(pid) == os.getpid()) or not is_alive(int(pid), float(started))
