"""The Prefect tasks: thin; the work is done by worker processes."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed
from prefect.tasks import Task

from clipes_core.errors import TransientError
from tasks.shards import ShardRecord
from tasks.stage_work import StageWork

FIRST_RETRY_S, LAST_RETRY_S, RETRY_JITTER = 2, 120, 0.5


def _worth_retrying(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, TransientError | ConnectionError | TimeoutError)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_condition_fn=_worth_retrying,
)
def shard_task(work: StageWork, shard: int, label: str) -> ShardRecord | State[ShardRecord]:
    """Reuse or make one shard of one stage.

    Args:
        work: the stage, its workers, and the run's ledger.
        shard: index.
        label: in the task run's name.

    Returns:
        The shard's record; the state is named Cached where nothing had to be done.
    """
    attempt = _attempt()
    ledger, stage = work.ledger, work.stage.name
    ledger.started(stage, shard, attempt)
    try:
        record = work.make(shard)
        ledger.finished(record, attempt)
        _check(record)
        ledger.check(stage)
    except Exception as exc:
        ledger.failed(stage, shard, attempt, exc)
        raise
    if record.cached:
        return Completed(name="Cached", message="the artifact was there", data=record)
    return record


def named_task(work: StageWork) -> Task[Any, Any]:
    """The task of a stage, with its name, tags and retries."""
    stage, retries = work.stage.name, work.run.config.execution.retries
    return shard_task.with_options(
        name=stage,
        task_run_name=f"{stage} {{label}}",
        tags=[stage, work.run.config.name],
        retries=retries,
        retry_delay_seconds=[min(FIRST_RETRY_S * 2**attempt, LAST_RETRY_S) for attempt in range(retries)],
        retry_jitter_factor=RETRY_JITTER,
    )


def _check(record: ShardRecord) -> None:
    if not record.complete:
        passing = [reject for reject in record.rejects if reject.kind.transient]
        raise TransientError(f"{len(passing)} photos failed for a cause that may pass; the first: {passing[0].reason}")


def _attempt() -> int:
    context = TaskRunContext.get()
    return context.task_run.run_count if context else 1
