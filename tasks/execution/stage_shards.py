"""Reuse or make the shards of one stage of a run, and find out which stage made a damaged artifact."""

import logging
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from clipes.tasks.execution.artifact_repair import ArtifactRepair
from clipes.tasks.execution.make_shard import cached_record
from clipes.tasks.execution.runner import Runner
from clipes.tasks.machine.background import Once, map_in_threads
from clipes.tasks.plan.jobs import ShardJob, ShardRecord, shard_job
from clipes.tasks.plan.shard_parts import remove_parts
from clipes.tasks.plan.shard_plan import ShardPlan, digests_by_id, read_digests
from clipes.tasks.plan.stage import JointStage, Stage
from clipes.tasks.runs.failures import check_upstream
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes_core.errors import BrokenArtifactError, NodeLostError, UpstreamError, WorkerError

MAX_LOST_NODES = 3  # per shard and attempt; the loss of a machine costs no attempt
MAX_REPAIRS = 8  # damaged artifacts per shard: its own, and those that it reads or copies rows from

logger = logging.getLogger(__name__)


class StageShards:
    """Reuses, makes and repairs the shards of one stage; shared by all task runs of the stage.

    Args:
        run: the run that the stage belongs to.
        ledger: ledger of the run.
        stage: the stage.
        runner: runner that makes the shards.
        upstream: name of each upstream stage -> its `StageShards`.

    Attributes:
        upstream: the argument of this name.
        shards: numbers of the shards.
        found: number of a cached shard -> its record, if it was found before its task run starts; see `cached_shards`.
    """

    def __init__(
        self, run: PreparedRun, ledger: Ledger, stage: Stage, runner: Runner, upstream: Mapping[str, "StageShards"]
    ) -> None:
        self.run, self.ledger, self.stage = run, ledger, stage
        self._runner, self.upstream = runner, upstream
        self.shards = dict.fromkeys(run.shards(stage))
        self.repairs = ArtifactRepair(run.store, ledger, self.make)
        self.found: dict[int, ShardRecord] = {}
        self._digests: dict[int, pa.Table] = {}
        self._started = set[int]()
        self._prepare_host = Once(lambda: runner.prepare(stage))
        if isinstance(stage, JointStage):  # its only shard may take days, so status.parquet counts its steps
            ledger.set_row_counter(stage.name, lambda: runner.rows(stage.name))

    def make(self, shard: int) -> ShardRecord:
        """Reuse or make a shard's artifact.

        If a worker dies or takes too long, but has kept new rows in the parts of the shard, the next worker continues.
        This ends, because each worker computes fewer rows than the one before. If the machine of a worker is lost, the
        next worker continues as well, up to MAX_LOST_NODES times. If a damaged artifact is found, it is discarded and,
        if it belongs to an upstream stage, rebuilt. Then the shard is planned again.

        Raises:
            TransientError: the shard failed for a transient cause; another attempt may succeed.
            UpstreamError: an upstream shard that this shard reads has no artifact, or too many photos failed in this
                stage or in an upstream stage.
            StoppedError: the run is ending.
            BrokenArtifactError: more than MAX_REPAIRS damaged artifacts were found.
        """
        self._check_upstream(shard)
        died: WorkerError | None = None  # the error of the last worker, until it is known whether it has kept new rows
        rows = repairs = losses = 0
        while True:
            try:
                plan = self._current_plan(shard)
                if (record := self.cached(plan)) is not None:
                    return record
                if died is not None:
                    _check_progress(plan, rows, died)
                died, rows = None, plan.computed
                self._prepare_host()
                record = self._runner.run(self._job(plan, shard))
                self.run.store.add(record.uri)
                self._digests.pop(shard, None)
                return record
            except BrokenArtifactError as broken:
                if repairs == MAX_REPAIRS:
                    raise
                repairs += 1
                self._repair(broken, shard)
            except NodeLostError as lost:
                if losses == MAX_LOST_NODES:
                    raise WorkerError(f"{losses + 1} machines were lost while they made the shard") from lost
                losses += 1
                logger.warning("%s shard %d: %s; another worker makes the shard", self.stage.name, shard, lost)
            except WorkerError as error:
                if error is died or not self.stage.kind.per_photo:
                    raise
                died = error

    def cached(self, plan: ShardPlan) -> ShardRecord | None:
        """Return the record of a cached shard; None if the shard is not cached."""
        if not plan.cached:
            return None
        record = cached_record(self.stage, plan, self.run.store)
        if self.stage.kind.per_photo:  # now, because the footer with the digests has just been read
            self._digests[plan.shard] = read_digests(self.run.store, record.uri)
        return record

    def digests(self, shard: int) -> pa.Table:
        """Return the output digests of a finished shard, as `read_digests` does; keep them for the next stage."""
        if (found := self._digests.get(shard)) is None:
            found = self._digests[shard] = read_digests(self.run.store, self.artifact_uri(shard))
        return found

    def plan(self, shard: int) -> ShardPlan:
        """Plan a shard whose upstream shards have finished."""
        run, stage = self.run, self.stage
        uris = {
            read.name: tuple(of.artifact_uri(own) for of, own in self._shards_read(read, shard))
            for read in stage.upstream
        }
        digests = {
            read.name: digests_by_id(map_in_threads(_digests_of, self._shards_read(read, shard)))
            for read in stage.photo_upstream
        }
        return run.plan(stage, shard, uris, digests, continues=shard in self._started)

    def _current_plan(self, shard: int) -> ShardPlan:
        """Plan a shard; notice if another run has made its artifact since this run has listed the store."""
        plan = self.plan(shard)
        new = not (plan.cached or self.run.reuse.fresh) and self.run.store.find_new(plan.key)
        return self.plan(shard) if new else plan

    def _job(self, plan: ShardPlan, shard: int) -> ShardJob:
        job = shard_job(self.stage, plan, self.run.store, self.run.inputs, shard)
        if self.run.reuse.fresh and shard not in self._started:  # a retry continues this run's work
            remove_parts(job.store, plan.key)
            self.stage.discard_attempts(job)
        self._started.add(shard)
        return job

    def artifact_uri(self, shard: int) -> str:
        """Return the URI of a finished shard's artifact."""
        return self.ledger.record(self.stage.name, shard).uri

    def can_start(self, shard: int) -> bool:
        """Return whether all upstream shards that a shard reads have complete artifacts, and few photos have failed."""
        try:
            self._check_upstream(shard)
        except UpstreamError:
            return False
        return True

    def _check_upstream(self, shard: int) -> None:
        read = ((above.name, own) for above, own in read_by(self, [shard]))
        check_upstream(self.ledger, read, (each.name for each in (*self.stage.photo_upstream, self.stage)))

    def _shards_read(self, upstream: Stage, shard: int) -> Iterator[tuple["StageShards", int]]:
        """Yield the shards of the stage `upstream` that `shard` reads, as pairs of `StageShards` and shard number."""
        for own in self.stage.shards_read(upstream, self.run.inputs, shard):
            yield self.upstream[upstream.name], own

    def _repair(self, broken: BrokenArtifactError, shard: int) -> None:
        """Discard a damaged artifact, and rebuild it if it belongs to an upstream stage."""
        read = [(self.upstream[above.name], own) for above, own in read_by(self, [shard])]
        producers = [(of, own) for of, own in read if of.artifact_uri(own) == broken.uri]
        for of, own in producers:
            of._digests.pop(own, None)
            of.repairs.rebuild(broken, own)
        if not producers:
            self.repairs.discard(broken)


def read_by(stage_shards: StageShards, shards: Iterable[int]) -> Iterator[tuple[Stage, int]]:
    """Yield the stages that some shards of a stage read or come after, and the numbers of the shards that they read."""
    stage, upstream = stage_shards.stage, stage_shards.upstream
    present = [each for each in stage.after if each.name in upstream]
    for above in (*stage.upstream, *present):
        for shard in shards:
            for own in stage.shards_read(above, stage_shards.run.inputs, shard):
                if above not in present or own in upstream[above.name].shards:
                    yield above, own


def _digests_of(read: tuple[StageShards, int]) -> pa.Table:
    stage_shards, shard = read
    return stage_shards.digests(shard)


def _check_progress(plan: ShardPlan, before: int, died: WorkerError) -> None:
    """Raise the error of a worker if it has kept no new row, and log it otherwise.

    Args:
        plan: plan of the shard after the worker has died.
        before: number of rows to compute before the worker began.
        died: error of the worker.
    """
    kept = before - plan.computed
    if kept <= 0:
        raise died
    shard = f"{plan.key.stage} shard {plan.shard}"
    logger.warning("%s: %s; it kept %d rows, %d are left", shard, died, kept, plan.computed)
