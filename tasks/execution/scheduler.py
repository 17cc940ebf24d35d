"""The scheduler of a run, which submits the shards of each stage as Prefect task runs."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from clipes.tasks.execution.cached_shards import find_cached
from clipes.tasks.execution.prefect_task import named_task
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.plan.keys import digest
from clipes.tasks.runs.failures import check_failure_rate, check_shards
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.ui.stage_tables import show_stage_tables_in_ui
from clipes.tasks.ui.terminal_progress import Done, show_progress
from clipes.tasks.ui.ui_progress import show_progress_in_ui

MOST_TASK_RUNS = 2000  # per stage; if a stage has more shards, each task run makes a group of them


class Scheduler:
    """Submits the shards of stages to a runner.

    For each kind of worker (gpu, cpu), the scheduler has one thread per worker. A task run therefore enters the state
    Running only when a worker is free for it. Shards of different stages run in parallel. Task runs of cached shards
    need no worker, so they have a thread of their own.

    Each scheduler submits shards in its own random order. The reason is that two runs may do the same work on one store
    at the same time. If both used the same order, both would make every shard. With different orders, each run finds
    many shards in the store that the other run has already made.
    """

    def __init__(self, ledger: Ledger, runner: Runner, threads: dict[str, ThreadPoolTaskRunner[Any]]) -> None:
        self._ledger, self._runner, self._threads = ledger, runner, threads
        self._stage_shards: dict[str, StageShards] = {}
        self._futures: dict[str, dict[int, PrefectFuture[Any]]] = {}
        self._order = uuid.uuid4().hex

    def submit(self, run: PreparedRun, stage_name: str) -> None:
        """Submit all shards of a stage if the stage is part of the run.

        All shards that are found in the store share one task run. Each other shard waits for the upstream shards that
        it reads.
        """
        stage = STAGES[stage_name]
        upstream = {read.name: self._stage_shards[read.name] for read in stage.upstream if read.name in run.stages}
        stage_shards = StageShards(run, self._ledger, stage, self._runner, upstream)
        self._stage_shards[stage_name], self._futures[stage_name] = stage_shards, {}
        shards = run.shards(stage)
        for shard in shards:
            self._ledger.planned(stage_name, shard)
        stage_shards.found = find_cached(stage_shards, shards)
        for record in stage_shards.found.values():  # so that the next stages find the shards that read these shards
            self._ledger.finished(record, attempt=1)
        if cached := tuple(stage_shards.found):
            label = f"{stage_name}: {len(cached)} of {len(shards)} cached"
            task = named_task(stage_name, run.config, cached=True)
            self._submit(stage_shards, cached, task, label, self._threads["cached"])
        task, workers = named_task(stage_name, run.config), self._runner.workers_for(stage)
        count = run.inputs.shard_count if stage.kind.per_photo else len(shards)
        for group in self._in_turn(shard_groups(sorted({*shards} - {*cached}), count)):
            label = f"{stage_name} {group_label(group, count)}"
            self._submit(stage_shards, self._in_turn(group), task, label, self._threads[workers])

    def _submit(
        self,
        stage_shards: StageShards,
        shards: tuple[int, ...],
        task: Task[Any, Any],
        label: str,
        threads: ThreadPoolTaskRunner[Any],
    ) -> None:
        """Submit one task run for some shards of a stage."""
        stage, run = stage_shards.stage, stage_shards.run
        read = (
            self._futures[above.name][own]
            for above in stage.upstream
            for shard in shards
            for own in stage.shards_read(above, run.inputs, shard)
        )
        future = threads.submit(
            task,
            {"stage_shards": stage_shards, "shards": shards, "label": label},
            # One failed upstream shard must not stop a whole group: `make` checks what each shard reads.
            wait_for=[*map(allow_failure, dict.fromkeys(read))],  # type: ignore[list-item]
        )
        self._futures[stage.name].update(dict.fromkeys(shards, future))

    def wait(self) -> None:
        """Wait until all submitted shards have ended, and fail if one of them has no complete artifact.

        Raises:
            UsageError: a shard failed with this error.
            StageError: shards failed for other reasons, or too many photos failed. The message lists failed shards by
                stage and reason.
        """
        for stage, futures in self._futures.items():
            for shard, future in futures.items():
                try:
                    future.wait()
                except Exception as exc:  # Prefect could not start the task run, for example because its server is gone
                    self._ledger.could_not_start(stage, shard, exc)
        check_shards(self._ledger)
        for stage in self._futures:
            check_failure_rate(self._ledger, stage)

    def _in_turn(self, places: Iterable[Any]) -> tuple[Any, ...]:
        """Return shards, or groups of shards, in the random order of this scheduler."""
        return tuple(sorted(places, key=lambda place: digest([self._order, place])))


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


@contextmanager
def scheduler_for(run: PreparedRun, ledger: Ledger, runner: Runner) -> Iterator[Scheduler]:
    """Yield a scheduler for a runner that has been entered, and show the progress while the block runs.

    After the block, the scheduler's threads are joined. If an error has ended the block, these threads may still be
    waiting for workers. The runner is therefore cancelled first, which ends the waiting.
    """
    totals = {stage.name: stage.kind.total(stage, run.inputs) for stage in run.own_stages()}

    def done(stage: str) -> Done:
        return Done(runner.rows(stage), ledger.reused_rows(stage))

    with ExitStack() as stack:
        stack.enter_context(show_stage_tables_in_ui(run.config.name, ledger))  # shown last, when the counts are final
        threads: dict[str, ThreadPoolTaskRunner[Any]] = {
            kind: stack.enter_context(ThreadPoolTaskRunner(max_workers=len(runner.slots[kind])))
            for kind in ("cpu", "gpu")
        }
        threads["cached"] = stack.enter_context(ThreadPoolTaskRunner(max_workers=1))
        stack.callback(runner.cancel)
        stack.enter_context(show_progress(totals, done))
        stack.enter_context(show_progress_in_ui(run.config.name, totals, done))
        yield Scheduler(ledger, runner, threads)
