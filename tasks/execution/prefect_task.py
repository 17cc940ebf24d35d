"""The Prefect task that reuses or makes shards, its threads, and the final states that the Prefect UI shows."""

from collections.abc import Mapping
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.states import Cancelled, Completed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task
from typing_extensions import override

from clipes.tasks.execution.shard_retries import retry_options, shards_to_make
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.ledger import reason_of
from clipes.tasks.storage.retry_policy import is_transient
from clipes_core.config.run import RunConfig
from clipes_core.errors import NotRunError, StageError, TransientError

NOT_RUN = "NotRun"  # name of the state of shards that were skipped or stopped


@task(cache_policy=NO_CACHE, persist_result=False)
def shard_task(stage_shards: StageShards, shards: tuple[int, ...], label: str) -> State[None]:
    """Reuse or make shards of one stage, one after the other; if one of them fails, continue with the next.

    When Prefect retries the task run, only the shards that failed for a transient cause are made again.

    Args:
        stage_shards: the object that makes the shards of the stage; it also holds the run's ledger.
        shards: numbers of the shards, in the order in which they are made.
        label: name of the task run.

    Returns:
        The final state of the task run. If no shard failed, the state is Completed. Its name is Cached if all shards
        were cached, and Completed otherwise. If shards were only skipped or stopped, the name of the state is NotRun.
        Its type is Cancelled, so that the UI does not show it in red.

    Raises:
        Exception: shards failed for other reasons. The error of a single shard is raised unchanged. The errors of
            several shards are combined into one error.
    """
    ledger, stage, attempt, log = stage_shards.ledger, stage_shards.stage.name, _attempt(), get_run_logger()
    for shard in shards_to_make(ledger, stage, shards, attempt):
        if shard not in stage_shards.found:
            ledger.started(stage, shard, attempt)
        try:
            record = stage_shards.found.pop(shard, None) or stage_shards.make(shard)
            ledger.finished(record, attempt)
            log.info("shard %d: %s: %s", shard, _counts(record), record.uri)
            record.check()
            if record.rejects:  # otherwise other shards are the cause
                check_failure_rate(ledger, stage)
        except NotRunError as exc:
            ledger.failed(stage, shard, attempt, exc)
            log.info("shard %d: %s", shard, exc)
        except Exception as exc:
            ledger.failed(stage, shard, attempt, exc)
            log.warning("shard %d: attempt %d failed: %s", shard, attempt, reason_of(exc))
    found = {shard: ledger.failure(stage, shard) for shard in shards}
    failures = {shard: failure for shard, failure in found.items() if failure is not None}
    if failures:
        failure = _as_one(failures)
        if isinstance(failure, NotRunError):
            return Cancelled(name=NOT_RUN, message=str(failure))
        raise failure
    records = [ledger.record(stage, shard) for shard in shards]
    cached = all(record.cached for record in records)
    return Completed(name="Cached" if cached else "Completed", message=_counts(*records))


def named_task(stage: str, config: RunConfig, cached: bool = False) -> Task[Any, Any]:
    """Return the Prefect task for the shards of a stage, with its name, tag and retries.

    The tag is the name of the stage. There is no second tag: with two threads, Prefect would warn of dead-locks, which
    cannot occur, because a task run is submitted only when those that it waits for have ended. A task for cached shards
    has no tag. For each task run with tags, Prefect asks the server whether a concurrency limit of a tag permits the
    task run now, which takes longer than the task run itself.
    """
    return shard_task.with_options(
        name=stage,
        task_run_name="{label}",
        tags=[] if cached else [stage],
        **retry_options(config.execution.retries),
    )


class TaskRunThreads(ThreadPoolTaskRunner[Any]):
    """Threads that end each task run that has begun by its own state, even if the run stops.

    Prefect's class marks a task run as Crashed, which the UI shows in red, if the threads are closed between the start
    of the task run and the call of its function. Here, the function is called: the runner has been cancelled by
    then, so the shard stops at once, and the task run ends as NotRun. Task runs that have not begun never start.
    """

    @override
    def cancel_all(self) -> None:
        self._cancel_events.clear()  # with these events, Prefect's class would end the task runs
        super().cancel_all()


def _counts(*records: ShardRecord) -> str:
    """Add up the counts of some shards, and return them as text for the log and the UI."""
    rows, copied, computed = (
        sum(getattr(record, name) for record in records) for name in ("images", "copied", "computed")
    )
    errors = sum(len(record.rejects) for record in records)
    counts = f"{rows} rows, {copied} copied, {computed} computed, {errors} errors"
    if all(record.cached for record in records):
        return f"{counts}, all cached"
    workers = sorted({record.worker for record in records if record.worker})
    return f"{counts} in {sum(record.seconds for record in records):.1f} s by {', '.join(workers)}"


def _as_one(failures: Mapping[int, Exception]) -> Exception:
    """Return a single failure unchanged, and combine several failures into one error.

    If a failure is transient, the combined error is transient too, so Prefect retries the task run. Shards that were
    skipped or stopped are left out if another shard failed.
    """
    causes = {shard: failure for shard, failure in failures.items() if not isinstance(failure, NotRunError)}
    reported = causes or failures
    if len(reported) == 1:
        return next(iter(reported.values()))
    message = "\n".join(f"shard {shard}: {reason_of(reported[shard])}" for shard in sorted(reported))
    if any(map(is_transient, reported.values())):
        return TransientError(message)
    return StageError(message) if causes else NotRunError(message)


def _attempt() -> int:
    context = TaskRunContext.get()
    return context.task_run.run_count if context else 1
