"""The shards of one stage of a run: reuse or make each, and rebuild artifacts that turn out damaged."""

import logging
import threading
from collections.abc import Iterator, Mapping

from clipes.tasks.execution.make_shard import cached_record
from clipes.tasks.execution.runner import Runner
from clipes.tasks.plan.jobs import ShardJob, ShardRecord, shard_job
from clipes.tasks.plan.shard_plan import ShardPlan, output_digests
from clipes.tasks.plan.stage import JointStage, Stage
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes_core.errors import BrokenArtifactError, TransientError, UpstreamError

MAX_REPAIRS = 8  # by one shard: what it reads, what it copies from, and what it left itself

logger = logging.getLogger(__name__)


class ShardRunner:
    """What the task runs of one stage share.

    Args:
        run: what is to be done.
        ledger: where the outcome is recorded.
        stage: which stage.
        runner: who makes the shards.
        upstream: by name, the same for the stages it reads.
    """

    def __init__(
        self, run: PreparedRun, ledger: Ledger, stage: Stage, runner: Runner, upstream: Mapping[str, "ShardRunner"]
    ) -> None:
        self.run, self.ledger, self.stage = run, ledger, stage
        self._runner, self._upstream = runner, upstream
        self._repairing, self._repaired = threading.Lock(), set[str]()
        self._starts_anew = run.reuse.fresh

    def make(self, shard: int) -> ShardRecord:
        """Reuse or make a shard's artifact; drop a damaged one that it meets, and rebuild it if the shard reads it.

        Raises:
            TransientError: worth another attempt.
            UpstreamError: a shard that it reads has failed.
            StageError: too many photos of this stage or of its upstream failed.
            BrokenArtifactError: more artifacts are damaged than are repaired for one shard.
        """
        self._check_upstream(shard)
        for attempt in range(MAX_REPAIRS + 1):
            try:
                plan = self._plan(shard)
                if plan.cached:
                    return cached_record(self.stage, plan, self.run.store)
                return self._runner.run(self._job(plan, shard))
            except BrokenArtifactError as broken:
                if attempt == MAX_REPAIRS:
                    raise
                self._repair(broken, shard)
        raise AssertionError("the last attempt returns or raises")

    def _plan(self, shard: int) -> ShardPlan:
        run, stage = self.run, self.stage
        uris = {
            read.name: tuple(of.artifact_uri(own) for of, own in self._shards_read(read, shard))
            for read in stage.upstream
        }
        digests = {read.name: output_digests(run.store, *uris[read.name]) for read in stage.photo_upstream}
        return run.plan(stage, shard, uris, digests)

    def _job(self, plan: ShardPlan, shard: int) -> ShardJob:
        job = shard_job(self.stage, plan, self.run.store, self.run.inputs, shard)
        if isinstance(self.stage, JointStage):
            if self._starts_anew:  # a run with --fresh that is resumed continues from its own checkpoints
                self.stage.forget(job)
                self._starts_anew = False
            self.ledger.counted(self.stage.name, lambda: self._runner.rows(self.stage.name))
        return job

    def artifact_uri(self, shard: int) -> str:
        """Return the URI of the artifact of a shard that is done."""
        return self.ledger.record(self.stage.name, shard).uri

    def _check_upstream(self, shard: int) -> None:
        for read in self.stage.upstream:
            for _, own in self._shards_read(read, shard):
                if not self.ledger.has_whole(read.name, own):
                    raise UpstreamError(f"not run: it reads {read.name} shard {own}, which has failed")
        for stage in (*self.stage.photo_upstream, self.stage):
            check_failure_rate(self.ledger, stage.name)

    def _shards_read(self, upstream: Stage, shard: int) -> Iterator[tuple["ShardRunner", int]]:
        """Yield the shards of an upstream stage that a shard reads, with the runner of that stage."""
        for own in self.run.shards_read(self.stage, upstream, shard):
            yield self._upstream[upstream.name], own

    def _repair(self, broken: BrokenArtifactError, shard: int) -> None:
        """Drop a damaged artifact; rebuild it if it is one that this shard reads."""
        read = [each for stage in self.stage.upstream for each in self._shards_read(stage, shard)]
        producers = [(of, own) for of, own in read if of.artifact_uri(own) == broken.uri]
        for of, own in producers or [(self, shard)]:
            with of._repairing:
                if broken.uri in of._repaired:
                    return  # another shard met it too, and was first
                logger.warning("%s %s: it is dropped and made again", broken.uri, broken.reason)
                self.run.store.discard(broken.uri)
                if of is not self:
                    of._rebuild(own)
                of._repaired.add(broken.uri)  # not if that failed: another attempt finds it missing, and repairs it

    def _rebuild(self, shard: int) -> None:
        """Make an artifact that was dropped; an incomplete one fails its shard, and what reads it."""
        record = self.make(shard)
        self.ledger.finished(record, attempt=1)
        try:
            record.check()
        except TransientError as exc:
            self.ledger.failed(self.stage.name, shard, 1, exc)
            raise
