"""The scheduler of a run, which submits the shards of each stage as Prefect task runs."""

import queue
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.tasks import Task

from clipes.tasks.execution.cached_shards import find_cached
from clipes.tasks.execution.prefect_task import TaskRunThreads, named_task
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.stage_shards import StageShards, read_by
from clipes.tasks.machine.background import in_background
from clipes.tasks.plan.keys import digest
from clipes.tasks.runs.failures import check_failure_rate, check_shards
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.ui.stage_tables import show_stage_tables_in_ui
from clipes.tasks.ui.terminal_progress import Done, show_progress
from clipes.tasks.ui.ui_progress import show_progress_in_ui
from clipes_core.errors import NotRunError

MOST_TASK_RUNS = 2000  # per stage; if a stage has more shards, each task run makes a group of them


@dataclass(eq=False)
class _PlannedTaskRun:
    """A task run that is submitted as soon as the task runs that it depends on have ended.

    Attributes:
        task: the Prefect task.
        stage_shards: the shards of its stage.
        shards: numbers of its shards, in the order in which they are made.
        label: name of the task run.
        threads: threads that it runs in.
        upstream: task runs that it depends on.
        dependants: task runs that depend on it and have not been submitted.
        waits_for: number of task runs in `upstream` that have not ended.
        future: Prefect's future; None before it is submitted.
        ended: set when the task run has ended, or could not be submitted.
    """

    task: Task[Any, Any]
    stage_shards: StageShards
    shards: tuple[int, ...]
    label: str
    threads: TaskRunThreads
    upstream: tuple["_PlannedTaskRun", ...]
    dependants: list["_PlannedTaskRun"] = field(default_factory=list)
    waits_for: int = 0
    future: PrefectFuture[Any] | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """Submits the shards of stages to a runner.

    Each task run is submitted as soon as the upstream shards that it reads have ended, so a shard that takes long
    delays only the shards that read it. For each kind of worker (gpu, cpu), the scheduler has a quarter more threads
    than the runner may have workers: while all workers are busy, the other threads plan the next shards. Shards of
    different stages run in parallel. Task runs of cached shards need no worker, so they have a thread of their own.

    Each scheduler submits shards in its own random order. The reason is that two runs may do the same work on one store
    at the same time. If both used the same order, both would make every shard. With different orders, each run finds
    many shards in the store that the other run has already made.
    """

    def __init__(self, ledger: Ledger, runner: Runner, threads: dict[str, TaskRunThreads]) -> None:
        self._ledger, self._runner, self._threads = ledger, runner, threads
        self.first_task_runs: dict[str, uuid.UUID] = {}  # stage -> its first task run
        self._stage_shards: dict[str, StageShards] = {}
        self._task_runs: dict[str, dict[int, _PlannedTaskRun]] = {}
        self._ready: queue.SimpleQueue[_PlannedTaskRun | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of the dependencies between task runs
        self._order, self._stopped = uuid.uuid4().hex, False

    def submit(self, run: PreparedRun, stage_name: str) -> None:
        """Submit all shards of a stage if the stage is part of the run.

        All shards that are found in the store share one task run. Each other shard waits for the upstream shards that
        it reads.
        """
        stage = STAGES[stage_name]
        read = (each.name for each in (*stage.upstream, *stage.after) if each.name in run.stages)
        upstream = {name: self._stage_shards[name] for name in read}
        stage_shards = StageShards(run, self._ledger, stage, self._runner, upstream)
        self._stage_shards[stage_name], self._task_runs[stage_name] = stage_shards, {}
        shards = stage_shards.shards
        for shard in shards:
            self._ledger.planned(stage_name, shard)
        stage_shards.found = find_cached(stage_shards, shards)
        for record in stage_shards.found.values():  # so that the next stages find the shards that read these shards
            self._ledger.finished(record, attempt=1)
        if cached := tuple(stage_shards.found):
            label = f"{stage_name}: {len(cached)} of {len(shards)} cached"
            task = named_task(stage_name, run.config, cached=True)
            self._plan(stage_shards, cached, task, label, self._threads["cached"])
        task, workers = named_task(stage_name, run.config), self._runner.workers_for(stage)
        count = run.inputs.shard_count if stage.kind.per_photo else len(shards)
        for group in self._in_turn(shard_groups(sorted({*shards} - {*cached}), count)):
            label = f"{stage_name} {group_label(group, count)}"
            self._plan(stage_shards, self._in_turn(group), task, label, self._threads[workers])

    def _plan(
        self,
        stage_shards: StageShards,
        shards: tuple[int, ...],
        task: Task[Any, Any],
        label: str,
        threads: TaskRunThreads,
    ) -> None:
        """Plan one task run for some shards of a stage."""
        stage = stage_shards.stage
        read = (self._task_runs[above.name][own] for above, own in read_by(stage_shards, shards))
        planned = _PlannedTaskRun(task, stage_shards, shards, label, threads, tuple(dict.fromkeys(read)))
        self._task_runs[stage.name].update(dict.fromkeys(shards, planned))
        with self._lock:
            for upstream in planned.upstream:
                if not upstream.ended.is_set():
                    upstream.dependants.append(planned)
                    planned.waits_for += 1
            if not planned.waits_for:
                self._ready.put(planned)

    def submit_ready(self) -> None:
        """Submit each task run when the task runs that it depends on have ended, until `stop_submitting` is called.

        Only one thread may do this, and it needs the context of the Prefect flow run.
        """
        while (planned := self._ready.get()) is not None and not self._stopped:
            # Prefect would not start a task run that waits for one in a state of the type Cancelled, such as NotRun.
            read = [upstream.future for upstream in planned.upstream if upstream.future and not self._skipped(upstream)]
            try:
                planned.future = planned.threads.submit(
                    planned.task,
                    {"stage_shards": planned.stage_shards, "shards": planned.shards, "label": planned.label},
                    # All of these have ended; Prefect shows them in its graph. One failed upstream shard must not stop
                    # a whole group: `make` checks what each shard reads.
                    wait_for=[*map(allow_failure, read)],  # type: ignore[list-item]
                )
                self.first_task_runs.setdefault(planned.stage_shards.stage.name, planned.future.task_run_id)
                planned.future.add_done_callback(partial(self._end, planned))
            except Exception as exc:
                self._could_not_start(planned, exc)
                self._end(planned)

    def _skipped(self, planned: _PlannedTaskRun) -> bool:
        """Return whether a task run that has ended is in the state NotRun."""
        found = [self._ledger.failure(planned.stage_shards.stage.name, shard) for shard in planned.shards]
        failures = [failure for failure in found if failure is not None]
        return bool(failures) and all(isinstance(failure, NotRunError) for failure in failures)

    def stop_submitting(self) -> None:
        """Let `submit_ready` return, even if task runs are ready; those that have not been submitted never start."""
        self._stopped = True
        self._ready.put(None)

    def _end(self, planned: _PlannedTaskRun, _future: PrefectFuture[Any] | None = None) -> None:
        """Note that a task run has ended, and that those task runs are ready that waited only for it."""
        with self._lock:
            planned.ended.set()
            for dependant in planned.dependants:
                dependant.waits_for -= 1
                if not dependant.waits_for:
                    self._ready.put(dependant)
            planned.dependants.clear()

    def _could_not_start(self, planned: _PlannedTaskRun, error: Exception) -> None:
        for shard in planned.shards:
            self._ledger.could_not_start(planned.stage_shards.stage.name, shard, error)

    def wait(self) -> None:
        """Wait until all submitted shards have ended, and fail if one of them has no complete artifact.

        Raises:
            UsageError: a shard failed with this error.
            StageError: shards failed for other reasons, or too many photos failed. The message lists failed shards by
                stage and reason.
        """
        for planned in {task_run: None for own in self._task_runs.values() for task_run in own.values()}:
            planned.ended.wait()
            try:
                if planned.future is not None:
                    planned.future.wait()
            except Exception as exc:  # Prefect could not start the task run, for example because its server is gone
                self._could_not_start(planned, exc)
        check_shards(self._ledger)
        for stage in self._task_runs:
            check_failure_rate(self._ledger, stage)

    def _in_turn(self, places: Iterable[Any]) -> tuple[Any, ...]:
        """Return shards, or groups of shards, in the random order of this scheduler."""
        return tuple(sorted(places, key=lambda place: digest([self._order, place])))


def thread_count(workers: int) -> int:
    """Return the number of threads for a kind of worker: a quarter more than workers, to plan the next shards."""
    return workers + -(-workers // 4)


def shard_groups(shards: Iterable[int], count: int) -> list[tuple[int, ...]]:
    """Divide the shards of a stage among task runs.

    Each task run gets one shard or, if `count` exceeds MOST_TASK_RUNS, a group of neighbouring shards.

    Args:
        shards: numbers of the stage's shards, in ascending order.
        count: number of shards, including shards without photos. All stages with a row per photo have the same count,
            so the groups of these stages have the same bounds.
    """
    size = -(-count // MOST_TASK_RUNS)
    return [tuple(group) for _, group in groupby(shards, key=lambda shard: shard // size)]


def group_label(group: tuple[int, ...], count: int) -> str:
    """Return the label of a group, such as 007/032 (shard 7 of 32) or 0000-0003/8000 (shards 0 to 3 of 8000)."""
    digits = max(3, len(str(count)))
    return "-".join(f"{shard:0{digits}d}" for shard in dict.fromkeys((group[0], group[-1]))) + f"/{count:0{digits}d}"


def rows_done(ledger: Ledger, runner: Runner, stage: str) -> Done:
    """Return how many rows of a stage are done: those of finished shards, and those that running jobs have computed.

    A row counts once, even if a worker has died and the row is copied or computed again.
    """
    computed, reused = ledger.finished_rows(stage)
    return Done(computed + runner.rows(stage), reused, ledger.permanent_failures(stage))


@contextmanager
def scheduler_for(run: PreparedRun, ledger: Ledger, runner: Runner) -> Iterator[Scheduler]:
    """Yield a scheduler for a runner that has been entered, and show the progress while the block runs.

    After the block, the scheduler's threads are joined. If an error has ended the block, these threads may still be
    waiting for workers. The runner is therefore cancelled first, which ends the waiting.
    """
    totals = {stage.name: stage.kind.total(stage, run.inputs) for stage in run.own_stages()}

    def done(stage: str) -> Done:
        return rows_done(ledger, runner, stage)

    with ExitStack() as stack:
        threads: dict[str, TaskRunThreads] = {}
        scheduler = Scheduler(ledger, runner, threads)
        task_runs = scheduler.first_task_runs
        stack.enter_context(show_stage_tables_in_ui(run.config.name, ledger, task_runs))  # when the counts are final
        threads |= {
            kind: stack.enter_context(TaskRunThreads(max_workers=thread_count(runner.most_jobs(kind))))
            for kind in ("cpu", "gpu")
        }
        threads["cached"] = stack.enter_context(TaskRunThreads(max_workers=1))
        stack.callback(runner.cancel)
        stack.enter_context(show_progress(run.config.name, totals, done))
        stack.enter_context(show_progress_in_ui(run.config.name, totals, done, task_runs))
        stack.enter_context(in_background(lambda _: scheduler.submit_ready(), "submit"))
        stack.callback(scheduler.stop_submitting)
        yield scheduler
