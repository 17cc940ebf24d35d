"""Make one shard in a worker: copy the rows whose inputs are unchanged, compute the others, write the artifact."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from importlib.metadata import version
from typing import Any

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.machine.devices import measured_gpu_memory
from clipes.tasks.machine.worker_state import current_worker
from clipes.tasks.plan.jobs import ShardCost, ShardJob, ShardRecord
from clipes.tasks.plan.keys import row_digest
from clipes.tasks.plan.shard_parts import PartWriter, pause_between_parts, remove_parts, without_damaged_parts
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.plan.stage import JointStage, Stage
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import is_part
from clipes_core.errors import ArtifactError, BrokenArtifactError, ErrorKind, StorageError, TransientError

logger = logging.getLogger(__name__)


def make_shard(job: ShardJob) -> ShardRecord:
    """Make a shard's artifact and write it atomically.

    From time to time, the finished rows are written to parts of the shard. They are removed once the artifact exists.

    Raises:
        ArtifactError: an artifact cannot be read, or the stage made wrong rows. A row is wrong if it has another type
            than `stage.row`, or belongs to a photo outside the shard. Each photo must have exactly one row.
    """
    worker, cost = current_worker(), measured_cost(job.stage.name)
    job = _with_intact_parts(job)
    stage, plan = job.stage, job.plan
    parts = PartWriter(job.store, plan.key, stage.schema, pause_between_parts(job.config.execution.shard_timeout_s))
    rows = _WrittenRows(stage, plan)
    with job.store.writer(plan.key, stage.schema, _footer(job)) as artifact:
        for row in _copied_rows(job):
            artifact.write(row)
            rows.add(row)
        if job.photos or not stage.kind.per_photo:
            for computed in stage.rows(job):
                row = _values(job, computed)
                artifact.write(row)
                if stage.kind.per_photo:
                    rows.add(row)
                    parts.add(row)
                if not isinstance(stage, JointStage):  # a joint stage counts its own steps
                    worker.counters.add(stage.name)
        if stage.kind.per_photo:
            rows.check()
        made = cost(0 if plan.copied else plan.computed)
        artifact.add_metadata({**job.footer, **rows.summary(), "cost": made.text()})
        artifact.complete = not any(reject.kind.transient for reject in rows.rejects)
    if parts.written or any(map(is_part, plan.copies)):
        _remove_parts(job)
    worker.made.add(stage.name)
    return ShardRecord(
        stage.name,
        plan.shard,
        job.store.artifact_uri(plan.key),
        plan.rows,
        cached=False,
        copied=plan.copied,
        computed=plan.computed,
        seconds=made.seconds,
        rejects=tuple(rows.rejects),
        worker=worker.name,
        cost=made,
    )


class _WrittenRows:
    """What an artifact that is being written tells about its photos.

    Attributes:
        rejects: the photos whose rows have an error of their own.
    """

    def __init__(self, stage: Stage, plan: ShardPlan) -> None:
        self._stage, self._plan, self._summary = stage, plan, stage.summary()
        self._uris = {photo.image_id: photo.uri for photo in plan.photos}
        self._counts = Counter[str]()
        self.rejects: list[Reject] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of a photo that has been written."""
        self._counts[row["image_id"]] += 1
        self.rejects.extend(_reject(self._stage, row, self._uris))
        if self._summary is not None:
            self._summary.add(row)

    def check(self) -> None:
        """Raise ArtifactError unless each photo of the shard has exactly one row."""
        expected = Counter(photo.image_id for photo in self._plan.photos)
        problems = {"have no row": expected - self._counts, "have more than one row": self._counts - expected}
        for problem, found in problems.items():
            if found:
                shard = f"{self._stage.name} shard {self._plan.shard}"
                raise ArtifactError(f"{shard}: {len(found)} photos {problem}: {sorted(found)[:5]}")

    def summary(self) -> Mapping[str, str]:
        """Return the entries of the stage's summary for the footer; empty if it has none."""
        return {} if self._summary is None else self._summary.entries()


def measured_cost(stage: str) -> Callable[[int], ShardCost]:
    """Start to measure what a shard costs, and return a function of the number of computed rows that returns the cost.

    Args:
        stage: name of the shard's stage.
    """
    worker, started, started_cpu = current_worker(), time.monotonic(), time.process_time()
    warm = stage in worker.made
    gpu_memory = measured_gpu_memory(worker.slot)

    def cost(rows: int) -> ShardCost:
        seconds, cpu_seconds = time.monotonic() - started, time.process_time() - started_cpu
        return ShardCost(rows, seconds, cpu_seconds, worker.peak_memory_mib, gpu_memory(), warm)

    return cost


def cached_record(stage: Stage, plan: ShardPlan, store: ArtifactStore) -> ShardRecord:
    """Return the record of a cached shard; read the shard's rejects and its cost from its artifact.

    Raises:
        ArtifactError: the artifact cannot be read, or does not hold exactly the photos in the plan.
    """
    uri = store.artifact_uri(plan.key)
    rejects: list[Reject] = []
    if stage.kind.per_photo:
        uris = {photo.image_id: photo.uri for photo in plan.photos}
        table = store.read(uri, ["image_id", "status", "error", "error_kind"])
        if set(table["image_id"].to_pylist()) != uris.keys():
            raise BrokenArtifactError(uri, "does not hold exactly the photos of its shard")
        rejects = [reject for row in table.to_pylist() for reject in _reject(stage, row, uris)]
    cost = ShardCost.parse(store.footer(uri).metadata.get("cost"))
    return ShardRecord(stage.name, plan.shard, uri, plan.rows, cached=True, rejects=tuple(rejects), cost=cost)


def _with_intact_parts(job: ShardJob) -> ShardJob:
    return replace(job, plan=replace(job.plan, copies=without_damaged_parts(job.store, job.plan.copies)))


def _remove_parts(job: ShardJob) -> None:
    """Remove the parts of a shard whose artifact exists. Parts that cannot be removed do no harm."""
    try:
        remove_parts(job.store, job.plan.key)
    except (StorageError, TransientError) as exc:
        logger.warning("cannot remove the parts of a finished shard, which clipes gc will delete: %s", exc)


def _copied_rows(job: ShardJob) -> Iterator[dict[str, Any]]:
    for uri, image_ids in job.plan.copies.items():
        wanted = set(image_ids)
        yield from (row for row in job.store.read_rows(uri) if row["image_id"] in wanted)


def _values(job: ShardJob, row: Any) -> dict[str, Any]:
    """Return a row as {column: value}. If the stage has a row per photo, add the row's input and output digest."""
    _check_row(job, row)
    values = {each.name: getattr(row, each.name) for each in fields(row)}
    if job.stage.kind.per_photo:
        values["input_digest"] = job.plan.input_digests[row.image_id]
        values["output_digest"] = row_digest(row)
    return values


def _check_row(job: ShardJob, row: Any) -> None:
    stage, shard, made = job.stage, job.plan.shard, type(row)
    if made is not stage.row:
        expected = stage.row.__name__
        raise ArtifactError(f"{stage.name} shard {shard}: expected rows of type {expected}, got {made.__name__}")
    if stage.kind.per_photo and row.image_id not in job.plan.input_digests:
        raise ArtifactError(f"{stage.name} shard {shard}: got a row of photo {row.image_id}, which is not in the shard")


def _reject(stage: Stage, row: Mapping[str, Any], uris: Mapping[str, str]) -> Iterator[Reject]:
    if row["status"] == "error" and row["error_kind"] != ErrorKind.UPSTREAM:
        yield Reject(row["image_id"], uris[row["image_id"]], stage.name, ErrorKind(row["error_kind"]), row["error"])


def _footer(job: ShardJob) -> dict[str, str]:
    return {"config": job.config.model_dump_json(), "version": version("clipes")}
