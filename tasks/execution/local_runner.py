"""The runner `local`, which makes shards in long-lived worker processes on this host."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, cast

from typing_extensions import override

from clipes.tasks.execution.joint_work import joint_work
from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.devices import cpu_slots, gpu_slots
from clipes.tasks.machine.interruption import was_interrupted
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import JointStage
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig
from clipes_core.errors import StoppedError, WorkerError


class LocalRunner(Runner):
    """Hands each job to an idle worker process, and replaces a worker that dies, hangs or runs out of memory."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.slots = {"cpu": cpu_slots(config.execution), "gpu": gpu_slots(config.clip, config.execution)}
        self._counters = Counters(tuple(STAGES))
        self._pools: dict[str, WorkerPool] = {}

    @override
    def __enter__(self) -> Self:
        self._pools = {kind: WorkerPool(slots, self._counters) for kind, slots in self.slots.items()}
        return self

    @override
    def run(self, job: ShardJob) -> ShardRecord:
        pool, timeout_s = self._pools[self.workers_for(job.stage)], self.config.execution.shard_timeout_s
        with _stopped_with_the_command():
            if isinstance(job.stage, JointStage):
                with joint_work(job, pool, timeout_s) as shared, pool.joint_worker(rank=0) as start:
                    return cast(ShardRecord, start(make_shard, shared).result())
            with pool.idle_worker(timeout_s) as start:
                return cast(ShardRecord, start(make_shard, job).result())

    @override
    def rows(self, stage: str) -> int:
        return self._counters.count(stage)

    @override
    def cancel(self) -> None:
        for pool in self._pools.values():
            pool.close()


@contextmanager
def _stopped_with_the_command() -> Iterator[None]:
    """Report a worker that died with the command as stopped, not as failed.

    SIGTERM to all processes of a command also ends its workers.
    """
    try:
        yield
    except WorkerError as exc:
        if was_interrupted():
            raise StoppedError("stopped before it was done") from exc
        raise
