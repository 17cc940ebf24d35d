"""The scheduler of a run: submits the shards of its stages as Prefect task runs, which wait for the runner."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from clipes.tasks.execution.prefect_task import named_task
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.shard_runner import ShardRunner
from clipes.tasks.plan.keys import digest
from clipes.tasks.runs.failures import check_shards
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.ui.progress import show_progress_in_ui
from clipes.tasks.ui.stage_tables import show_stage_tables_in_ui
from clipes.tasks.ui.terminal import Done, show_progress

MOST_TASK_RUNS = 2000  # of a stage; if it has more shards, each takes a group of them


class Scheduler:
    """Submits the shards of stages to a runner.

    Each kind of worker has as many waiting threads as workers, so a task run is Running only while a worker is on it,
    and stages run side by side.

    The shards of all stages are taken in one order that is this scheduler's own. Two runs of the same work on one store
    that start together would in a common order make every shard at the same time; so they meet late.
    """

    def __init__(self, ledger: Ledger, runner: Runner, threads: dict[str, ThreadPoolTaskRunner[Any]]) -> None:
        self._ledger, self._runner, self._threads = ledger, runner, threads
        self._shard_runners: dict[str, ShardRunner] = {}
        self._futures: dict[str, dict[int, PrefectFuture[Any]]] = {}
        self._order = uuid.uuid4().hex

    def submit(self, run: PreparedRun, stage_name: str) -> None:
        """Submit all shards of a stage; each waits for what it reads. Nothing if the stage is no part of the run."""
        stage = STAGES[stage_name]
        upstream = {read.name: self._shard_runners[read.name] for read in stage.upstream if read.name in run.stages}
        shard_runner = ShardRunner(run, self._ledger, stage, self._runner, upstream)
        self._shard_runners[stage_name], self._futures[stage_name] = shard_runner, {}
        shards = run.shards(stage)
        for shard in shards:
            self._ledger.planned(stage_name, shard)
        count = run.config.execution.shards if stage.kind.per_photo else len(shards)
        for group in self._in_turn(shard_groups(shards, count)):
            read = (
                self._futures[above.name][own]
                for above in stage.upstream
                for shard in group
                for own in run.shards_read(stage, above, shard)
            )
            future = self._threads[stage.workers].submit(
                named_task(stage_name, run.config),
                {"shard_runner": shard_runner, "shards": self._in_turn(group), "label": group_label(group, count)},
                # A failed shard stops only what reads it, not the rest of a group: the shard runner looks at each.
                wait_for=[*map(allow_failure, dict.fromkeys(read))],  # type: ignore[list-item]
            )
            self._futures[stage_name].update(dict.fromkeys(group, future))

    def wait(self) -> None:
        """Wait until all that was submitted has ended, and fail if a shard has no complete artifact.

        Raises:
            UsageError: that is why a shard failed.
            StageError: one line per reason, with the shards that failed for it.
        """
        for stage, futures in self._futures.items():
            for shard, future in futures.items():
                try:
                    future.wait()
                except Exception as exc:  # Prefect could not start the task run, as when its server is gone
                    self._ledger.not_begun(stage, shard, exc)
        check_shards(self._ledger)

    def _in_turn(self, places: Iterable[Any]) -> tuple[Any, ...]:
        """Return shards, or groups of them, in the order of this scheduler."""
        return tuple(sorted(places, key=lambda place: digest([self._order, place])))


def shard_groups(shards: Iterable[int], count: int) -> list[tuple[int, ...]]:
    """Return shards by task run: one each, or groups of neighbours if more than MOST_TASK_RUNS would be needed.

    Args:
        shards: those that there are, ascending.
        count: how many there could be; the groups of all stages have the same bounds.
    """
    size = -(-count // MOST_TASK_RUNS)
    return [tuple(group) for _, group in groupby(shards, key=lambda shard: shard // size)]


def group_label(group: tuple[int, ...], count: int) -> str:
    """Return what of how many: 007/032, or 0000-0003/8000."""
    digits = max(3, len(str(count)))
    return "-".join(f"{shard:0{digits}d}" for shard in dict.fromkeys((group[0], group[-1]))) + f"/{count:0{digits}d}"


@contextmanager
def scheduler_for(run: PreparedRun, ledger: Ledger, runner: Runner) -> Iterator[Scheduler]:
    """Start a runner and open a scheduler for the block, and show its progress.

    When the block ends early, the workers end first, then the threads that wait for GPU workers, then those that wait
    for CPU workers and for the former: the reverse of the order here.
    """
    totals = {stage.name: stage.kind.total(stage, run.inputs) for stage in run.own_stages()}

    def done(stage: str) -> Done:
        return Done(runner.rows(stage), ledger.reused_rows(stage))

    with ExitStack() as stack:
        stack.enter_context(show_stage_tables_in_ui(run.config.name, ledger))  # when no thread counts any more
        threads: dict[str, ThreadPoolTaskRunner[Any]] = {
            kind: stack.enter_context(ThreadPoolTaskRunner(max_workers=len(runner.slots[kind])))
            for kind in ("cpu", "gpu")
        }
        stack.enter_context(runner)
        stack.enter_context(show_progress(totals, done))
        stack.enter_context(show_progress_in_ui(run.config.name, totals, done))
        yield Scheduler(ledger, runner, threads)
