"""The runner `inline`, which runs jobs in the calling process, one at a time, so that breakpoints in a stage work."""

import threading

from typing_extensions import override

from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.runner import Runner
from clipes.tasks.machine.devices import cpu_slots, gpu_slots
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import act_as_worker
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig
from clipes_core.errors import StoppedError, WorkerError


class InlineRunner(Runner):
    """Makes each shard in the thread that calls `run`, without worker processes and without a time limit.

    `cancel` cannot end the running job. It refuses all jobs that have not started.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        # the same threads as a worker of the runner `local`, so that both give the same bits
        self.slots = {"gpu": gpu_slots(config.clip, config.execution)[:1], "cpu": cpu_slots(config.execution)[:1]}
        self._counters = Counters(tuple(STAGES))
        self._rows = self._counters.of_slot()
        self._one_at_a_time, self._cancelled = threading.Lock(), False

    @override
    def cores(self) -> int:
        return max(slot.threads for (slot,) in self.slots.values())  # only one job runs at a time

    @override
    def run(self, job: ShardJob) -> ShardRecord:
        (slot,) = self.slots[self.workers_for(job.stage)]
        with self._one_at_a_time, act_as_worker(slot, self._rows):
            if self._cancelled:
                raise StoppedError("stopped before it was done")
            try:
                return make_shard(job)
            except MemoryError as exc:
                raise WorkerError("the process ran out of memory") from exc
            finally:
                self._rows.clear()

    @override
    def rows(self, stage: str) -> int:
        return self._counters.count(stage)

    @override
    def cancel(self) -> None:
        self._cancelled = True
