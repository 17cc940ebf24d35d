"""Runner announcing: logs each shard before it makes the shard in a worker process of concurrent.futures."""

import logging
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from typing_extensions import override

from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.runner import Runner
from clipes.tasks.machine.log import log_level
from clipes.tasks.machine.processes import SPAWN_CONTEXT
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot, start_worker
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import RunConfig
from clipes_core.config.section import Section
from clipes_core.errors import StoppedError, WorkerError

logger = logging.getLogger(__name__)


class Settings(Section):
    """Keys of `execution.runner` besides `kind`."""

    greeting: str = "shard"


class AnnouncingRunner(Runner):
    """Makes the shards of all stages in one worker process, and announces each shard in the log."""

    Settings = Settings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        slot = WorkerSlot("cpu", 1)
        self.slots = {"gpu": (slot,), "cpu": (slot,)}
        self._counters = Counters(tuple(STAGES))
        self._rows = self._counters.of_slot()
        self._worker = ProcessPoolExecutor(
            max_workers=1,
            mp_context=SPAWN_CONTEXT,
            initializer=start_worker,
            initargs=(slot, self._rows, log_level()),
        )

    @override
    def run(self, job: ShardJob) -> ShardRecord:
        logger.info("%s %s %d", self.settings.greeting, job.stage.name, job.plan.shard)
        try:
            return self._worker.submit(make_shard, job).result(self.config.execution.shard_timeout_s)
        except BrokenProcessPool as exc:
            raise WorkerError("the worker died") from exc
        except (CancelledError, RuntimeError) as exc:
            raise StoppedError("stopped before the shard was done") from exc
        finally:
            self._rows.clear()

    @override
    def rows(self, stage: str) -> int:
        return self._counters.count(stage)

    @override
    def cancel(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
