"""Record in Prefect which process executes a flow run, mark dead flow runs as Crashed, and let them be retried."""

import logging
import os
import signal
import socket
import time
from collections.abc import Collection, Iterator
from typing import Any, ParamSpec, TypeVar, cast
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
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.flows import Flow
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed

from clipes.tasks.execution.prefect_task import NOT_RUN
from clipes.tasks.machine.processes import is_alive, started_at

TAG, CLI_TAG = "clipes", "cli"
HOST, PID, PID_STARTED = "clipes.host", "clipes.pid", "clipes.pid_started"
PAGE = 200
RETRY_POLL_SECONDS = 1.0
TAKEN_SECONDS = 60.0  # a worker looks for runs every 10 s
ACTIVE = [StateType.RUNNING, StateType.CANCELLING]
WITHOUT_RESULT = [*ACTIVE, StateType.FAILED, StateType.CRASHED, StateType.PENDING, StateType.SCHEDULED]
RETRIED = "Retried"  # name of the state of task runs whose work a later attempt of the flow run does again

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def completed(result: Result, message: str) -> Result:
    """Return the result of a flow in a way that lets Prefect show a message with the final state of the flow run.

    Only a flow may return this value. Prefect takes the result out of it, so callers of the flow get `result`.
    """
    return cast(Result, Completed(message=message, data=result))


def keep_sigterm_handler(flow: Flow[Arguments, Result]) -> Flow[Arguments, Result]:
    """Return a copy of the flow for the command line: its runs have the tag `cli`, and it handles SIGTERM differently.

    It keeps this process's own SIGTERM handler instead of Prefect's handler.
    Prefect's handler raises an exception at every SIGTERM, even while clipes closes the run. Only flow runs of
    deployments need Prefect's handler, because a Prefect worker cancels them with SIGTERM.
    """
    handler = signal.getsignal(signal.SIGTERM)

    def restore(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
        signal.signal(signal.SIGTERM, handler)
        flow_run.tags.append(CLI_TAG)  # `claim_flow_run`, which Prefect calls next, sends the tags

    return flow.with_options(on_running=[restore, *flow.on_running_hooks])  # runs after Prefect has set its handler


def claim_flow_run(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Record that this process executes the flow run, add tags, and mark this host's dead flow runs as Crashed.

    The tags are `clipes`, the name of the run, and the format of its data set.

    If the flow run belongs to a deployment, it may be a retry. Then also mark the task runs that failed in earlier
    attempts as Retried: they are no longer the cause of a failure, so the UI must not show them in red.

    A flow run is dead if its process has died or now executes a different run. Prefect calls this hook when the flow
    run enters the state Running.
    """
    pid = os.getpid()
    with get_client(sync_client=True) as client:
        labels: dict[str, bool | int | float | str] = {
            HOST: socket.gethostname(),
            PID: pid,
            PID_STARTED: started_at(pid),
        }
        client.update_flow_run_labels(flow_run.id, labels)
        config = flow_run.parameters.get("config", {})
        about = (config.get("name"), config.get("dataset", {}).get("format"))
        client.update_flow_run(flow_run.id, tags={*flow_run.tags, TAG, *filter(None, about)})
        mark_crashed(client, (flow_run.id, *_parent(client, flow_run)))
        if flow_run.deployment_id is not None:
            mark_retried(client, flow_run)


def wait_for_retry(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Wait until the retry of a crashed flow run of a deployment has ended. Return at once if there is no retry.

    If the process of a flow run is killed, the Prefect worker marks the run as Crashed, calls this hook, and then marks
    the run as Crashed for a second time. Prefect ignores this if the run has already ended. But it would end a retry
    that has begun in the meantime, and take away the retry's slot in the deployment's concurrency limit.

    If no worker takes the retry within `TAKEN_SECONDS`, this worker may have reached its own limit of runs. The hook
    then gives up, because a worker counts a run until its hooks have ended.
    """
    if flow_run.deployment_id is None:
        return
    with get_client(sync_client=True) as client:
        taken = time.monotonic()
        while not (state := client.read_flow_run(flow_run.id).state or state).is_final():
            if state.name != AwaitingRetry().name:
                taken = time.monotonic()
            elif time.monotonic() - taken >= TAKEN_SECONDS:
                logger.warning("no worker has taken the retry of the flow run %s: retry it again", flow_run.name)
                return
            time.sleep(RETRY_POLL_SECONDS)


def _parent(client: SyncPrefectClient, flow_run: FlowRun) -> Iterator[UUID]:
    """Yield the id of the flow run that has called this one as its subflow, if there is one."""
    if flow_run.parent_task_run_id is not None:
        caller = client.read_task_run(flow_run.parent_task_run_id).flow_run_id
        if caller is not None:
            yield caller


def mark_crashed(client: SyncPrefectClient, own: Collection[UUID] = ()) -> list[str]:
    """Mark this host's flow runs as Crashed if their process has died or now executes a different run.

    Args:
        client: client of the Prefect server.
        own: ids of the run that this process executes now, and of the run that has called it. Any other run that is
            recorded for this process is marked as Crashed, because the process now executes a different run.

    Returns:
        Names of the marked runs.
    """
    dead = [run for run in _active_runs(client) if run.id not in own and _is_dead(run, bool(own))]
    for run in dead:
        message = "the process ended without reporting its state: it was killed, or the machine went down"
        for task_run in _task_runs(client, run, ACTIVE):
            stopped: State[Any] = Cancelled(name=NOT_RUN, message=f"not run: {message}")
            client.set_task_run_state(task_run.id, stopped, force=True)
        crashed: State[Any] = Crashed(message=message)
        client.set_flow_run_state(run.id, crashed, force=True)
        logger.warning("marked the earlier flow run %s as Crashed, because no process executes it any more", run.name)
    return [run.name for run in dead]


def mark_retried(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    """Mark the task runs of earlier attempts of a flow run that ended without a result as Retried, which is not red.

    Call it before the new attempt starts task runs. The message of the state keeps the reason of the failure.
    """
    for task_run in _task_runs(client, flow_run, WITHOUT_RESULT):
        before = "" if task_run.state is None else f" {task_run.state.name}: {task_run.state.message}"
        state: State[Any] = Cancelled(name=RETRIED, message=f"the run was retried.{before}")
        client.set_task_run_state(task_run.id, state, force=True)


def _task_runs(client: SyncPrefectClient, flow_run: FlowRun, types: list[StateType]) -> list[TaskRun]:
    """Return the task runs of a flow run whose state has one of these types."""
    chosen = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=types)))
    found: list[TaskRun] = []
    while runs := client.read_task_runs(
        flow_run_filter=FlowRunFilter(id={"any_": [flow_run.id]}),
        task_run_filter=chosen,
        limit=PAGE,
        offset=len(found),
    ):
        found += runs
    return found


def _active_runs(client: SyncPrefectClient) -> Iterator[FlowRun]:
    active = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE)))
    offset = 0
    while runs := client.read_flow_runs(flow_run_filter=active, limit=PAGE, offset=offset):
        yield from runs
        offset += len(runs)


def _is_dead(run: FlowRun, executes_another: bool) -> bool:
    """Return whether a clipes run on this host is dead.

    It is if its process has died, or if it is this process, and this process now executes another run.
    """
    if run.state_type == StateType.CANCELLING and run.deployment_id is not None:
        return False  # The worker of the deployment ends the run and sets its state.
    host, pid, started = (run.labels.get(label) for label in (HOST, PID, PID_STARTED))
    if host != socket.gethostname() or pid is None or started is None:
        return False
    return (executes_another and int(pid) == os.getpid()) or not is_alive(int(pid), float(started))
