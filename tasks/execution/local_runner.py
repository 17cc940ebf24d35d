"""The runner `local`: long-lived worker processes on this host, one per device for CAMs and one per core for masks."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from typing_extensions import override

from clipes.tasks.execution.joint_work import make_together
from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.worker_pool import WorkerPool, worker_pool
from clipes.tasks.machine.devices import cpu_slots, gpu_slots
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import JointStage
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig


class LocalRunner(Runner):
    """Hands each job to an idle worker process, and replaces a worker that dies, hangs or runs out of memory."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.slots = {"cpu": cpu_slots(config.execution), "gpu": gpu_slots(config.clip, config.execution)}
        self._counters = Counters(tuple(STAGES))
        self._pools: dict[str, WorkerPool] = {}
        self._stack = ExitStack()

    @override
    def __enter__(self) -> Self:
        for kind, slots in self.slots.items():
            self._pools[kind] = self._stack.enter_context(worker_pool(slots, self._counters))
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)  # each pool ends its calls and its processes

    @override
    def run(self, job: ShardJob) -> ShardRecord:
        pool, timeout_s = self._pools[job.stage.workers], self.config.execution.shard_timeout_s
        if isinstance(job.stage, JointStage):
            return make_together(job, pool, timeout_s)
        return pool.run(make_shard, job, timeout_s=timeout_s)

    @override
    def rows(self, stage: str) -> int:
        return self._counters.count(stage)

    @override
    def cancel(self) -> None:
        for pool in self._pools.values():
            pool.stop_calls()
