"""The Prefect tasks: thin; the work is done by worker processes."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed
from prefect.tasks import Task

from clipes_core.errors import TransientError
from tasks.ledger import Ledger
from tasks.preparation import PreparedRun
from tasks.shard_plan import output_digests
from tasks.shards import ShardJob, ShardRecord, cached_record, make_shard
from tasks.stages import Stage
from tasks.texts import make_texts, text_count
from tasks.workers import WorkerPool

FIRST_RETRY_S, LAST_RETRY_S, RETRY_JITTER = 2, 120, 0.5


class StageWork:
    """What the task runs of one stage share.

    Args:
        run: what is to be done.
        ledger: where it is written down.
        stage: which stage.
        pool: who does it.
    """

    def __init__(self, run: PreparedRun, ledger: Ledger, stage: Stage, pool: WorkerPool) -> None:
        self.run, self.ledger, self.stage, self.pool = run, ledger, stage, pool

    def make(self, shard: int) -> ShardRecord:
        """Reuse or make a shard's artifact.

        Raises:
            TransientError: worth another attempt.
            StageError: too many photos of this stage or the one before failed.
        """
        for name in (*self.stage.sharded_upstream, self.stage.name):
            self.ledger.check(name)
        if self.stage.name == "texts":
            return self._texts()
        uris = {name: self.ledger.record(name, shard).uri for name in self.stage.sharded_upstream}
        above = {name: output_digests(self.run.store, uri) for name, uri in uris.items()}
        texts = self.run.store.artifact_uri(self.run.texts)
        plan = self.run.plan(self.stage, shard, {**uris, "texts": texts}, above)
        if plan.cached:
            return cached_record(plan, self.run.store)
        return self._in_worker(make_shard, ShardJob(plan, self.run.store, self.run.config, self.run.vocabulary))

    def _texts(self) -> ShardRecord:
        run = self.run
        if run.texts_cached:
            rows = text_count(run.config, run.vocabulary)
            return ShardRecord("texts", 0, run.store.artifact_uri(run.texts), rows, cached=True)
        return self._in_worker(make_texts, run.texts, run.store, run.config, run.vocabulary)

    def _in_worker(self, function: Any, *args: Any) -> ShardRecord:
        return self.pool.run(function, *args, timeout_s=self.run.config.execution.shard_timeout_s)


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
