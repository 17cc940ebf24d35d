"""The work of one stage: reuse or make each of its shards, and mend what was found broken on the way."""

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from clipes.tasks.execution.joint_training import cached_segmenter, forget_checkpoints, make_segmenter
from clipes.tasks.execution.make_shard import cached_record, make_shard
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.shard_plan import ShardPlan, output_digests
from clipes.tasks.plan.stages import TEXT_STAGES, Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.preparation import PreparedRun
from clipes.tasks.stages.texts import make_texts, text_count
from clipes_core.errors import BrokenArtifactError, TransientError, UpstreamError

MENDINGS = 8  # of one shard: what it reads, what it copies from, and what it left itself

logger = logging.getLogger(__name__)


class StageWork:
    """What the task runs of one stage share.

    Args:
        run: what is to be done.
        ledger: where it is written down.
        stage: which stage.
        pool: who does it.
        upstream: the work of the stages it reads.
    """

    def __init__(
        self,
        run: PreparedRun,
        ledger: Ledger,
        stage: Stage,
        pool: WorkerPool,
        upstream: Mapping[str, "StageWork"],
    ) -> None:
        self.run, self.ledger, self.stage, self.pool, self.upstream = run, ledger, stage, pool, upstream
        self._mending, self._mended = threading.Lock(), set[str]()
        self._begins_anew = run.reuse.fresh

    def make(self, shard: int) -> ShardRecord:
        """Reuse or make a shard's artifact; a broken one that it meets is dropped, and made again where it is read.

        Raises:
            TransientError: worth another attempt.
            UpstreamError: a shard that it reads has failed.
            StageError: too many photos of this stage or the one before failed.
            BrokenArtifactError: there is no end of broken artifacts.
        """
        self._check_upstream(shard)
        for name in (*self.stage.sharded_upstream, self.stage.name):
            self.ledger.check(name)
        for _ in range(MENDINGS):
            try:
                return self._reused_or_made(shard)
            except BrokenArtifactError as broken:
                self._mend(broken, shard)
        return self._reused_or_made(shard)

    def _reused_or_made(self, shard: int) -> ShardRecord:
        run = self.run
        if self.stage.name in TEXT_STAGES:
            return self._texts(shard)
        uris = {name: tuple(work.uri(own) for work, own in self._reads(name, shard)) for name in self.stage.upstream}
        above = {name: output_digests(run.store, *uris[name]) for name in self.stage.sharded_upstream}
        plan = run.plan(self.stage, shard, uris, above)
        if self.stage.rows_of == "training":
            return cached_segmenter(plan, run.store) if plan.cached else self._trained(plan)
        if plan.cached:
            return cached_record(plan, run.store)
        imports = run.recipe.imports if run.recipe else ()
        return self._in_worker(make_shard, ShardJob(plan, run.store, run.config, run.vocabulary, imports))

    def _texts(self, shard: int) -> ShardRecord:
        run, name = self.run, self.stage.name
        key, config = run.texts(name, shard), run.texts_config(name, shard)
        if run.texts_cached(name, shard):
            return ShardRecord(
                name, shard, run.store.artifact_uri(key), text_count(config, run.vocabulary), cached=True
            )
        return self._in_worker(make_texts, key, run.store, config, run.vocabulary, name, shard)

    def _trained(self, plan: ShardPlan) -> ShardRecord:
        """Go on from what an earlier attempt, or run, has left; a run that reuses nothing does so from its own."""
        if self._begins_anew:
            forget_checkpoints(plan, self.run.store)
            self._begins_anew = False
        self.ledger.counted(self.stage.name, lambda: self.pool.counters.count(self.stage.name))
        return make_segmenter(self.run, plan, self.pool)

    def _check_upstream(self, shard: int) -> None:
        for name in self.upstream:
            for _, own in self._reads(name, shard):
                if not self.ledger.has_whole(name, own):
                    raise UpstreamError(f"not run: it reads {name} shard {own}, which has failed")

    def uri(self, shard: int) -> str:
        """URI of the artifact of a shard that is done."""
        return self.ledger.record(self.stage.name, shard).uri

    def _reads(self, upstream: str, shard: int) -> Iterator[tuple["StageWork", int]]:
        """The work and the shards of an upstream stage that a shard reads."""
        for own in self.run.shards_read(self.stage, upstream, shard):
            yield self.upstream[upstream], own

    def _mend(self, broken: BrokenArtifactError, shard: int) -> None:
        """Drop a broken artifact; make it again where it is one that this shard reads."""
        read = [each for name in self.upstream for each in self._reads(name, shard)]
        producers = [(work, own) for work, own in read if work.uri(own) == broken.uri]
        for work, own in producers or [(self, shard)]:
            with work._mending:
                if broken.uri in work._mended:
                    return  # another shard met it too, and was first
                logger.warning("%s %s: it is dropped and made again", broken.uri, broken.reason)
                self.run.store.discard(broken.uri)
                if work is not self:
                    work._make_again(own)
                work._mended.add(broken.uri)  # not where that failed: another attempt finds it missing, and mends it

    def _make_again(self, shard: int) -> None:
        """Make an artifact that was dropped; one that is not whole fails its shard, and what stands on it."""
        record = self.make(shard)
        self.ledger.finished(record, attempt=1)
        try:
            record.check()
        except TransientError as exc:
            self.ledger.failed(self.stage.name, shard, 1, exc)
            raise

    def _in_worker(self, function: Any, *args: Any) -> ShardRecord:
        return self.pool.run(function, *args, timeout_s=self.run.config.execution.shard_timeout_s)
