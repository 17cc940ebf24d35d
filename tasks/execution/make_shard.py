"""Make one shard of one stage: copy what did not change, compute the rest, write the artifact."""

import importlib
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import chain
from typing import Any

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.machine.worker import current_worker
from clipes.tasks.plan.jobs import Row, ShardJob, ShardRecord
from clipes.tasks.plan.keys import row_digest
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.plan.stages import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import ArtifactError, BrokenArtifactError, ErrorKind


def make_shard(job: ShardJob) -> ShardRecord:
    """Make a shard's artifact and write it whole; runs in a worker.

    Raises:
        ArtifactError: an artifact it reads cannot be read, or the stage lost a photo.
    """
    started = time.monotonic()
    plan = job.plan
    uris = {photo.image_id: photo.uri for photo in plan.photos}
    rejects: list[Reject] = []
    written: set[str] = set()
    with job.store.writer(plan.key, STAGES[plan.key.stage].schema, _metadata(job)) as artifact:
        for row in chain(_copied_rows(job), _computed_rows(job)):
            artifact.write(row)
            written.add(row["image_id"])
            rejects.extend(_reject(plan.key.stage, row, uris))
        _check_whole(plan, written)
        artifact.complete = not any(reject.kind.transient for reject in rejects)
    return ShardRecord(
        plan.key.stage,
        plan.key.shard,
        job.store.artifact_uri(plan.key),
        len(written),
        cached=False,
        copied=plan.copied,
        computed=len(written) - plan.copied,
        seconds=time.monotonic() - started,
        rejects=tuple(rejects),
        worker=current_worker().name,
        peak_memory_mib=current_worker().peak_memory_mib,
    )


def cached_record(plan: ShardPlan, store: ArtifactStore) -> ShardRecord:
    """The record of a shard whose artifact is there; its rejects are read from it.

    Raises:
        ArtifactError: the artifact fails a checksum, or holds other photos than the plan.
    """
    uri = store.artifact_uri(plan.key)
    uris = {photo.image_id: photo.uri for photo in plan.photos}
    table = store.read(uri, ["image_id", "status", "error", "error_kind"])
    if set(table["image_id"].to_pylist()) != uris.keys():
        raise BrokenArtifactError(uri, "holds other photos than the manifest")
    rejects = [reject for row in table.to_pylist() for reject in _reject(plan.key.stage, row, uris)]
    return ShardRecord(plan.key.stage, plan.key.shard, uri, len(uris), cached=True, rejects=tuple(rejects))


def _copied_rows(job: ShardJob) -> Iterator[dict[str, Any]]:
    for uri, image_ids in job.plan.copies.items():
        wanted = set(image_ids)
        yield from (row for row in job.store.read_rows(uri) if row["image_id"] in wanted)


def _computed_rows(job: ShardJob) -> Iterator[dict[str, Any]]:
    stage = STAGES[job.plan.key.stage]
    if not job.photos:
        return
    made: Iterator[Row] = importlib.import_module(f"clipes.tasks.stages.{stage.name}").rows(job)
    for row in made:
        current_worker().counters.add(stage.name)
        values = {name: getattr(row, name) for name in stage.schema.names if hasattr(row, name)}
        values["input_digest"] = job.plan.input_digests[row.image_id]
        values["output_digest"] = row_digest(row)
        yield values


def _check_whole(plan: ShardPlan, written: set[str]) -> None:
    lost = sorted({photo.image_id for photo in plan.photos} ^ written)
    if lost:
        raise ArtifactError(f"{plan.key.stage} shard {plan.key.shard}: {len(lost)} photos without a row: {lost[:5]}")


def _reject(stage: str, row: Mapping[str, Any], uris: Mapping[str, str]) -> Iterator[Reject]:
    if row["status"] == "error" and row["error_kind"] != ErrorKind.UPSTREAM:
        yield Reject(row["image_id"], uris[row["image_id"]], stage, ErrorKind(row["error_kind"]), row["error"])


def _metadata(job: ShardJob) -> dict[str, str]:
    return {"config": job.config.model_dump_json(), "version": version("clipes")}
