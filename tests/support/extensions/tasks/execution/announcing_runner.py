"""Runner announcing: the local runner, but it logs each shard before a worker makes it."""

import logging

from typing_extensions import override

from clipes.tasks.execution.local_runner import LocalRunner
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes_core.config.section import Section

logger = logging.getLogger(__name__)


class Settings(Section):
    """Keys of `execution.runner` beside `kind`."""

    greeting: str = "shard"


class AnnouncingRunner(LocalRunner):
    """Says what it is going to do."""

    Settings = Settings

    @override
    def run(self, job: ShardJob) -> ShardRecord:
        logger.info("%s %s %d", self.settings.greeting, job.stage.name, job.plan.shard)
        return super().run(job)
