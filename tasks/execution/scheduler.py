"""The workers of a run, and the threads in which its task runs wait for them."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

from prefect import allow_failure
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from clipes.tasks.execution.prefect_task import named_task
from clipes.tasks.execution.shard_runner import StageWork
from clipes.tasks.execution.worker_pool import WorkerPool, worker_pool
from clipes.tasks.machine.devices import cpu_slots, gpu_slots
from clipes.tasks.machine.worker import Counters
from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.stages import STAGES, Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.preparation import PreparedRun
from clipes.tasks.stages.texts import text_count
from clipes.tasks.ui.progress import progress_in_ui
from clipes.tasks.ui.stage_tables import stage_tables_in_ui
from clipes.tasks.ui.terminal import Done, shown_progress

MOST_TASK_RUNS = 2000  # of a stage; where it has more shards, each takes a group of them


class Crew:
    """Submits shards to GPU or CPU workers, as each stage wants.

    Each kind of worker has as many waiting threads as workers, so a task run is Running only
    while a worker is on it, and stages go on side by side.

    The shards of all stages are taken up in one order that is this crew's own. Two runs of the same work on one
    store that begin together would in a common order make every shard at the same time; so they meet late.
    """

    def __init__(
        self,
        run: PreparedRun,
        ledger: Ledger,
        pools: dict[str, WorkerPool],
        runners: dict[str, ThreadPoolTaskRunner[Any]],
    ) -> None:
        self._run, self._ledger, self._pools, self._runners = run, ledger, pools, runners
        self._work: dict[str, StageWork] = {}
        self._futures: dict[str, dict[int, PrefectFuture[Any]]] = {}
        self._order = uuid.uuid4().hex

    def submit(self, stage: str) -> None:
        """Submit all shards of a stage; each waits for what it reads. Nothing after the run's last stage."""
        declared = STAGES[stage]
        upstream = {name: self._work[name] for name in declared.upstream}
        self._work[stage] = StageWork(self._run, self._ledger, declared, self._pools[declared.workers], upstream)
        shards = self._run.shard_numbers(declared) if self._run.includes(stage) else []
        for shard in shards:
            self._ledger.planned(stage, shard)
        count = self._run.config.execution.shards if declared.sharded else len(shards)
        self._futures[stage] = {}
        for group in self._in_turn(shard_groups(shards, count)):
            future = self._submit(declared, group, group_label(group, count))
            self._futures[stage].update(dict.fromkeys(group, future))

    def go_on_with(self, run: PreparedRun) -> None:
        """What is submitted from now on belongs to the run as it has become: its template or sample is chosen."""
        self._run = run

    def wait(self) -> None:
        """Wait until all that was submitted has come to an end, good or bad."""
        for stage, futures in self._futures.items():
            for shard, future in futures.items():
                try:
                    future.wait()
                except Exception as exc:  # Prefect could not begin the task run, as when its server is gone
                    self._ledger.not_begun(stage, shard, exc)

    def _submit(self, stage: Stage, group: tuple[int, ...], label: str) -> PrefectFuture[Any]:
        work = self._work[stage.name]
        parameters = {"work": work, "shards": self._in_turn(group), "label": label}
        read = (
            self._futures[name][own]
            for name in stage.upstream
            for shard in group
            for own in self._run.shards_read(stage, name, shard)
        )
        # A failed shard stops only what stands on it, not the rest of a group: the work looks at each.
        after: list[Any] = [allow_failure(future) for future in dict.fromkeys(read)]
        return self._runners[stage.workers].submit(named_task(work), parameters, wait_for=after)

    def _in_turn(self, places: Iterable[Any]) -> tuple[Any, ...]:
        """Shards, or groups of them, in the order of this crew."""
        return tuple(sorted(places, key=lambda place: digest([self._order, place])))


def shard_groups(shards: Iterable[int], count: int) -> list[tuple[int, ...]]:
    """Shards by task run: one each, or groups of neighbours where more than MOST_TASK_RUNS would be needed.

    Args:
        shards: those that there are, ascending.
        count: how many there could be; the groups of all stages have the same bounds.
    """
    size = -(-count // MOST_TASK_RUNS)
    return [tuple(group) for _, group in groupby(shards, key=lambda shard: shard // size)]


def group_label(group: tuple[int, ...], count: int) -> str:
    """What of how many: 007/032, or 0000-0003/8000."""
    digits = max(3, len(str(count)))
    return "-".join(f"{shard:0{digits}d}" for shard in dict.fromkeys((group[0], group[-1]))) + f"/{count:0{digits}d}"


@contextmanager
def hired_crew(run: PreparedRun, ledger: Ledger) -> Iterator[Crew]:
    """A crew for the block, its progress shown.

    When the block ends early, the workers end first, then the threads that wait for GPU workers, then those that
    wait for CPU workers and for the former: the reverse of the order here.
    """
    slots = {"cpu": cpu_slots(run.config.execution), "gpu": gpu_slots(run.config.clip, run.config.execution)}
    counters = Counters(tuple(STAGES))

    def done(stage: str) -> Done:
        return Done(counters.count(stage), ledger.reused_rows(stage))

    with ExitStack() as stack:
        stack.enter_context(stage_tables_in_ui(run.config.name, ledger))  # when no thread counts any more
        runners: dict[str, ThreadPoolTaskRunner[Any]] = {
            kind: stack.enter_context(ThreadPoolTaskRunner(max_workers=len(slots[kind]))) for kind in slots
        }
        pools = {kind: stack.enter_context(worker_pool(slots[kind], counters)) for kind in slots}
        totals = _totals(run)
        stack.enter_context(shown_progress(totals, done))
        stack.enter_context(progress_in_ui(run.config.name, totals, done))
        yield Crew(run, ledger, pools, runners)


def _totals(run: PreparedRun) -> dict[str, int]:
    """Rows that each stage of the run will have; the few of one set of texts are not shown."""
    return {stage.name: _rows(run, stage) for stage in STAGES.values() if run.includes(stage.name)}


def _rows(run: PreparedRun, stage: Stage) -> int:
    if stage.rows_of == "training":
        return run.recipe.iterations if run.recipe else 0
    if stage.rows_of == "texts":
        return len(run.inputs.candidates) * text_count(run.config, run.vocabulary) if stage.name != "texts" else 0
    return sum(len(photos) for photos in run.stage_shards(stage).values())
