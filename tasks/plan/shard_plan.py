"""What there is to do for one shard of one stage: what is cached, copied and computed."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import digest, photo_digest
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import JointStage, Stage, key_without_upstream
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes_core.errors import BrokenArtifactError, ErrorKind

Uris = Mapping[str, tuple[str, ...]]  # upstream stage -> URIs of the artifacts that a shard reads
OutputDigests = Mapping[str, str]  # image_id -> digest of its row; photos whose row is not made yet are left out


@dataclass(frozen=True)
class Reuse:
    """What a run takes from the store.

    Attributes:
        fresh: nothing.
        verify: only artifacts that were read completely; else it is enough that they open.
        retry_errors: no row that failed for a permanent cause; one whose failure an upstream stage reports follows
            that stage.
    """

    fresh: bool = False
    verify: bool = False
    retry_errors: bool = False

    def takes_row(self, error_kind: str | None) -> bool:
        """Return whether a row with this kind of error, or none, is reused."""
        if error_kind is None or error_kind == ErrorKind.UPSTREAM:
            return True
        return not (self.retry_errors or ErrorKind(error_kind).transient)


REUSE_ALL = Reuse()


@dataclass(frozen=True)
class ShardPlan:
    """What there is to do for a shard.

    Attributes:
        key: of the artifact it will be.
        shard: number of the shard.
        rows: how many it comes to, as tables count them.
        photos: all photos that the shard is made from.
        input_digests: per image_id, of what its row is made from; without photos whose upstream row is not made yet.
        cached: the artifact exists and is complete; nothing to do.
        copies: URI of an earlier artifact -> image ids whose rows are copied from it.
        upstream: stage -> URIs of the artifacts it reads: one, or one per template or shard.
    """

    key: ArtifactKey
    shard: int
    rows: int
    photos: tuple[Photo, ...]
    input_digests: Mapping[str, str]
    cached: bool
    copies: Mapping[str, tuple[str, ...]]
    upstream: Uris

    @property
    def to_compute(self) -> tuple[Photo, ...]:
        """Photos whose rows must be computed."""
        if self.cached:
            return ()
        copied = {image_id for ids in self.copies.values() for image_id in ids}
        return tuple(photo for photo in self.photos if photo.image_id not in copied)

    @property
    def copied(self) -> int:
        """How many rows are copied from earlier artifacts."""
        return sum(len(ids) for ids in self.copies.values())

    @property
    def computed(self) -> int:
        """How many rows are computed."""
        return 0 if self.cached else self.rows - self.copied


def plan_shard(
    stage: Stage,
    shard: int,
    stage_key: str,
    inputs: RunInputs,
    store: ArtifactStore,
    upstream: Uris,
    upstream_digests: Mapping[str, OutputDigests],
    reuse: Reuse = REUSE_ALL,
) -> ShardPlan:
    """Find out what a shard needs.

    Args:
        stage: which stage.
        shard: number of the shard.
        stage_key: of the stage in this run.
        inputs: of the run.
        store: where artifacts are.
        upstream: upstream stage -> URIs of the artifacts that this shard reads.
        upstream_digests: upstream stage with a row per photo -> digests of its rows.
        reuse: what is taken from the store.

    Raises:
        ArtifactError: the store, or with `retry_errors` the artifact, cannot be read.
    """
    photos, rows = stage.kind.photos(stage, inputs, shard), stage.kind.rows(stage, inputs, shard)
    input_digests = _input_digests(stage, photos, _weights_read(stage, upstream, store), upstream_digests)
    key = _artifact_key(stage, shard, stage_key, inputs, input_digests)
    completely = reuse.verify or stage.pooled
    known = len(input_digests) == len(photos)  # else an upstream row is still to be made
    exists = known and not reuse.fresh and store.is_complete(key, stage.kind.stored_rows(rows), completely)
    if not stage.kind.per_photo:
        return ShardPlan(key, shard, rows, photos, input_digests, exists, {}, upstream)
    cached = exists and not (reuse.retry_errors and _has_errors(key, store, reuse))
    copies = {} if cached or reuse.fresh else _copies(key, input_digests, store, reuse, completely)
    return ShardPlan(key, shard, rows, photos, input_digests, cached, copies, upstream)


def output_digests(store: ArtifactStore, *uris: str) -> dict[str, str]:
    """Return the digest of each row of some artifacts.

    Raises:
        ArtifactError: one cannot be read.
    """
    found: dict[str, str] = {}
    for uri in uris:
        columns = store.read(uri, ["image_id", "output_digest"]).to_pydict()
        found.update(zip(columns["image_id"], columns["output_digest"], strict=True))
    return found


def planned_digests(stage: Stage, plan: ShardPlan, store: ArtifactStore) -> dict[str, str]:
    """Return the digests of the rows that exist before the shard is made: cached ones, and those it will copy."""
    if not stage.kind.per_photo:
        return {}
    if plan.cached:
        return output_digests(store, store.artifact_uri(plan.key))
    copied: dict[str, str] = {}
    for uri, image_ids in plan.copies.items():
        digests = output_digests(store, uri)
        copied.update({image_id: digests[image_id] for image_id in image_ids})
    return copied


def _artifact_key(
    stage: Stage, shard: int, stage_key: str, inputs: RunInputs, input_digests: Mapping[str, str]
) -> ArtifactKey:
    name = stage.name
    if stage.stored_as is not None:
        name = stage.stored_as.name
        stage_key = key_without_upstream(stage.stored_as, stage.kind.shard_inputs(inputs, shard))
    content_key = stage.kind.content_key(stage_key, input_digests)
    return ArtifactKey(name, stage_key, stage.kind.artifact_shard(shard), content_key)


def _weights_read(stage: Stage, upstream: Uris, store: ArtifactStore) -> list[str] | None:
    """Return which trained weights a stage reads: on a GPU two trainings of one key may differ. None: not made yet."""
    names = [read.name for read in stage.upstream if isinstance(read, JointStage)]
    if any(name not in upstream for name in names):
        return None
    uris = [uri for name in names for uri in upstream[name]]
    return [f"{posixpath.basename(uri)} {store.footer(uri).metadata.get('weights', '')}" for uri in uris]


def _input_digests(
    stage: Stage,
    photos: tuple[Photo, ...],
    weights_read: list[str] | None,
    upstream_digests: Mapping[str, OutputDigests],
) -> dict[str, str]:
    if weights_read is None:
        return {}
    digests = {}
    for photo in photos:
        rows = [upstream_digests[read.name].get(photo.image_id) for read in stage.photo_upstream]
        if None not in rows:
            truth = [photo.truth_fingerprint] if stage.needs_truth or stage.kind.of_evaluation else []
            digests[photo.image_id] = digest([photo_digest(photo), *truth, *rows, *weights_read])
    return digests


def _has_errors(key: ArtifactKey, store: ArtifactStore, reuse: Reuse) -> bool:
    kinds = store.read(store.artifact_uri(key), ["error_kind"])["error_kind"].to_pylist()
    return not all(reuse.takes_row(kind) for kind in kinds)


def _copies(
    key: ArtifactKey, input_digests: Mapping[str, str], store: ArtifactStore, reuse: Reuse, completely: bool
) -> dict[str, tuple[str, ...]]:
    """Return the rows that earlier artifacts of the shard already hold, the newest artifact first."""
    missing = set(input_digests)
    copies: dict[str, tuple[str, ...]] = {}
    for uri in store.shard_artifacts(key.stage, key.stage_key, key.shard):
        if not missing:
            break
        try:
            if completely:
                store.check_pages(uri)
            rows = store.read(uri, ["image_id", "input_digest", "error_kind"]).to_pylist()
        except BrokenArtifactError:  # nothing can be copied from a damaged artifact; its rows are computed
            continue
        wanted = (row for row in rows if _is_of(row, missing, input_digests))
        reusable = tuple(row["image_id"] for row in wanted if reuse.takes_row(row["error_kind"]))
        if reusable:
            copies[uri] = reusable
            missing.difference_update(reusable)
    return copies


def _is_of(row: Mapping[str, Any], missing: set[str], input_digests: Mapping[str, str]) -> bool:
    image_id = row["image_id"]
    return image_id in missing and row["input_digest"] == input_digests[image_id]
