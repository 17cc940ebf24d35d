"""What there is to do for one shard of one stage: what is cached, copied and computed."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import content_key, digest, photo_digest
from clipes.tasks.plan.stages import STAGES, Stage
from clipes.tasks.storage.artifact_store import ArtifactKey, ArtifactStore
from clipes_core.errors import BrokenArtifactError, ErrorKind

OutputDigests = Mapping[str, str]  # image_id -> digest of its row; photos whose row is not made yet are left out


@dataclass(frozen=True)
class Reuse:
    """What a run takes of what is there.

    Attributes:
        fresh: nothing.
        verify: only artifacts that are read wholly before; else it is enough that they open.
        retry_errors: no row that failed for good; one whose failure an earlier stage reports follows that stage.
    """

    fresh: bool = False
    verify: bool = False
    retry_errors: bool = False

    def takes_row(self, error_kind: str | None) -> bool:
        """Whether a row with this kind of error, or none, is taken."""
        if error_kind is None or error_kind == ErrorKind.UPSTREAM:
            return True
        return not (self.retry_errors or ErrorKind(error_kind).transient)


ALL_THAT_IS_THERE = Reuse()


@dataclass(frozen=True)
class ShardPlan:
    """What there is to do for a shard.

    Attributes:
        key: of the artifact it will be.
        photos: all photos of the shard that have a row in this stage.
        input_digests: per image_id, of what its row is made from; without photos whose upstream
            row is not made yet.
        cached: the artifact is there and whole; nothing to do.
        copies: URI of an earlier artifact -> image ids whose rows are taken from it.
        upstream: stage -> URIs of the artifacts it reads: one, or one per template.
    """

    key: ArtifactKey
    photos: tuple[Photo, ...]
    input_digests: Mapping[str, str]
    cached: bool
    copies: Mapping[str, tuple[str, ...]]
    upstream: Mapping[str, tuple[str, ...]]

    @property
    def to_compute(self) -> tuple[Photo, ...]:
        """Photos whose rows must be made."""
        if self.cached:
            return ()
        copied = {image_id for ids in self.copies.values() for image_id in ids}
        return tuple(photo for photo in self.photos if photo.image_id not in copied)

    @property
    def copied(self) -> int:
        """How many rows are taken from earlier artifacts."""
        return sum(len(ids) for ids in self.copies.values())


def plan_shard(
    stage: Stage,
    key: ArtifactKey,
    photos: tuple[Photo, ...],
    store: ArtifactStore,
    upstream: Mapping[str, tuple[str, ...]],
    above: Mapping[str, OutputDigests],
    reuse: Reuse = ALL_THAT_IS_THERE,
) -> ShardPlan:
    """Find out what a shard needs.

    Args:
        stage: which stage.
        key: its stage_key in this run and the shard; the content key is found here.
        photos: of this shard, with a row in this stage.
        store: where artifacts are.
        upstream: upstream stage -> URIs of the artifacts that this shard reads.
        above: sharded upstream stage -> digests of its rows.
        reuse: what is taken of what is there.

    Raises:
        ArtifactError: the store, or with `retry_errors` the artifact, cannot be read.
    """
    input_digests = _input_digests(stage, photos, _trained(stage, upstream, store), above)
    key = ArtifactKey(key.stage, key.stage_key, key.shard, content_key(input_digests))
    known = len(input_digests) == len(photos)
    whole = reuse.verify or stage.pooled
    there = known and not reuse.fresh and store.is_complete(key, len(photos) if stage.sharded else None, whole)
    if not stage.sharded:  # its rows are of no photo
        return ShardPlan(key, photos, input_digests, there, {}, upstream)
    cached = there and not (reuse.retry_errors and _has_errors(key, store, reuse))
    copies = {} if cached or reuse.fresh else _copies(key, input_digests, store, reuse, whole)
    return ShardPlan(key, photos, input_digests, cached, copies, upstream)


def output_digests(store: ArtifactStore, *uris: str) -> dict[str, str]:
    """Digest of each row of some artifacts.

    Raises:
        ArtifactError: one cannot be read.
    """
    found: dict[str, str] = {}
    for uri in uris:
        columns = store.read(uri, ["image_id", "output_digest"]).to_pydict()
        found.update(zip(columns["image_id"], columns["output_digest"], strict=True))
    return found


def planned_digests(plan: ShardPlan, store: ArtifactStore) -> dict[str, str]:
    """Digests of the rows that are there before the shard is made: of its artifact, or of the rows it will copy."""
    if not STAGES[plan.key.stage].sharded:  # its rows have none
        return {}
    if plan.cached:
        return output_digests(store, store.artifact_uri(plan.key))
    copied: dict[str, str] = {}
    for uri, image_ids in plan.copies.items():
        there = output_digests(store, uri)
        copied.update({image_id: there[image_id] for image_id in image_ids})
    return copied


def _trained(stage: Stage, upstream: Mapping[str, tuple[str, ...]], store: ArtifactStore) -> list[str] | None:
    """Which weights a stage reads: two trainings of the same name may differ, on a GPU. None: not made yet."""
    names = [name for name in stage.upstream if STAGES[name].rows_of == "training"]
    if any(name not in upstream for name in names):
        return None
    uris = [uri for name in names for uri in upstream[name]]
    return [f"{posixpath.basename(uri)} {store.footer(uri).metadata.get('weights', '')}" for uri in uris]


def _input_digests(
    stage: Stage, photos: tuple[Photo, ...], trained: list[str] | None, above: Mapping[str, OutputDigests]
) -> dict[str, str]:
    if trained is None:
        return {}
    digests = {}
    for photo in photos:
        rows = [above[name].get(photo.image_id) for name in stage.sharded_upstream]
        if None not in rows:
            truth = [photo.truth_fingerprint] if stage.needs_truth or stage.rows_of == "evaluation" else []
            digests[photo.image_id] = digest([photo_digest(photo), *truth, *rows, *trained])
    return digests


def _has_errors(key: ArtifactKey, store: ArtifactStore, reuse: Reuse) -> bool:
    kinds = store.read(store.artifact_uri(key), ["error_kind"])["error_kind"].to_pylist()
    return not all(reuse.takes_row(kind) for kind in kinds)


def _copies(
    key: ArtifactKey, input_digests: Mapping[str, str], store: ArtifactStore, reuse: Reuse, whole: bool
) -> dict[str, tuple[str, ...]]:
    """Rows that earlier artifacts of the shard already hold, the newest artifact first."""
    missing = set(input_digests)
    copies: dict[str, tuple[str, ...]] = {}
    for uri in store.shard_artifacts(key.stage, key.stage_key, key.shard):
        if not missing:
            break
        try:
            if whole:
                store.check_pages(uri)
            rows = store.read(uri, ["image_id", "input_digest", "error_kind"]).to_pylist()
        except BrokenArtifactError:  # nothing can be copied from a broken artifact; its rows are computed
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
