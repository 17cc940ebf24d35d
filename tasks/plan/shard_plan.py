"""The plan of one shard of one stage: which rows are cached, copied or computed."""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.sources.source import ABSENT
from clipes.tasks.plan.caching import REUSE_ALL, Reuse, is_cached, rows_to_copy
from clipes.tasks.plan.keys import digest, photo_digest
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.plan.stage_keys import key_without_upstream
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.listed_store import ListedStore

Uris = Mapping[str, tuple[str, ...]]  # name of an upstream stage -> URIs of the artifacts that a shard reads
DIGEST_COLUMNS = ("image_id", "output_digest")
OutputDigests = Mapping[str, str]  # image_id -> digest of the photo's row; photos without a row are left out


@dataclass(frozen=True)
class ShardPlan:
    """The cached rows of a shard, the rows to copy, and the rows to compute.

    Attributes:
        key: key of the shard's artifact.
        shard: number of the shard.
        rows: number of rows of the shard, as `RowKind.row_count` returns it.
        photos: all photos that the shard is made from.
        input_digests: image_id -> digest of the inputs of the photo's row. A photo is left out if one of these inputs,
            such as an upstream row, does not exist yet.
        cached: if True, the shard counts as cached, and nothing is left to do.
        copies: URI of a part or an earlier artifact -> ids of the photos whose rows are copied from it.
        upstream: name of an upstream stage -> URIs of the artifacts that the shard reads from that stage. Most shards
            read a single artifact from each upstream stage.
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
        """The photos whose rows must be computed."""
        if self.cached:
            return ()
        copied = {image_id for ids in self.copies.values() for image_id in ids}
        return tuple(photo for photo in self.photos if photo.image_id not in copied)

    @property
    def copied(self) -> int:
        """The number of rows that are copied from parts and earlier artifacts."""
        return sum(len(ids) for ids in self.copies.values())

    @property
    def computed(self) -> int:
        """The number of rows that are computed."""
        return 0 if self.cached else self.rows - self.copied


def plan_shard(
    stage: Stage,
    shard: int,
    stage_key: str,
    inputs: RunInputs,
    store: ListedStore,
    upstream: Uris,
    upstream_digests: Mapping[str, OutputDigests],
    reuse: Reuse = REUSE_ALL,
) -> ShardPlan:
    """Plan a shard: find out which of its rows are cached, which can be copied and which must be computed.

    Args:
        stage: stage of the shard.
        shard: number of the shard.
        stage_key: key of the stage in this run.
        inputs: inputs of the run.
        store: store that holds the artifacts.
        upstream: name of an upstream stage -> URIs of the artifacts that the shard reads from it.
        upstream_digests: name of an upstream stage -> output digests of its rows, by image_id. Every upstream stage
            with one row per photo must have an entry.
        reuse: settings that decide what is reused.

    Raises:
        BrokenArtifactError: the stage reads a trained network, and the artifact of that network is missing or damaged.
            Also raised if `reuse.retry_errors` is True, and the shard's own artifact is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    photos, rows = stage.kind.photos(stage, inputs, shard), stage.kind.row_count(stage, inputs, shard)
    input_digests = _input_digests(stage, photos, _weights_read(stage, upstream, store), upstream_digests)
    key = _artifact_key(stage, shard, stage_key, inputs, input_digests)
    known = len(input_digests) == len(photos)  # False if an upstream row or a trained network does not exist yet
    cached = known and is_cached(stage, key, rows, store, reuse)
    copies = {} if cached else rows_to_copy(stage, key, input_digests, store, reuse, inputs.shard_count)
    return ShardPlan(key, shard, rows, photos, input_digests, cached, copies, upstream)


def read_digests(store: ArtifactStore, uri: str) -> pa.Table:
    """Read the columns image_id and output_digest of an artifact. As Arrow tables, those of many artifacts are small.

    Raises:
        BrokenArtifactError: the artifact is missing or damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    return store.read(uri, DIGEST_COLUMNS)


def digests_by_id(tables: Iterable[pa.Table]) -> dict[str, str]:
    """Return image_id -> output digest of all rows of tables that `read_digests` has returned."""
    return {
        image_id: row_digest
        for table in tables
        for image_id, row_digest in zip(*(table[name].to_pylist() for name in DIGEST_COLUMNS), strict=True)
    }


def planned_digests(stage: Stage, plan: ShardPlan, store: ListedStore) -> list[pa.Table]:
    """Return the output digests that are known before the shard is made, as `read_digests` does.

    These are the digests of the cached rows and of the rows to copy. The errors are those of `read_digests`.
    """
    if not stage.kind.per_photo:
        return []
    if plan.cached:
        return [read_digests(store, store.artifact_uri(plan.key))]
    tables = [(read_digests(store, uri), pa.array(image_ids)) for uri, image_ids in plan.copies.items()]
    return [table.filter(pc.is_in(table["image_id"], image_ids)) for table, image_ids in tables]


def key_without_run(stage: Stage, shard: int, inputs: RunInputs) -> ArtifactKey:
    """Return the key of the artifact of a shard of a stage without upstream stages, whose settings are known."""
    input_digests = _input_digests(stage, stage.kind.photos(stage, inputs, shard), [], {})
    return _artifact_key(stage, shard, key_without_upstream(stage, inputs), inputs, input_digests)


def _artifact_key(
    stage: Stage, shard: int, stage_key: str, inputs: RunInputs, input_digests: Mapping[str, str]
) -> ArtifactKey:
    name = stage.name
    if stage.stored_as is not None:
        name = stage.stored_as.name
        stage_key = key_without_upstream(stage.stored_as, stage.kind.shard_inputs(inputs, shard))
    content_key = stage.kind.content_key(stage_key, input_digests)
    return ArtifactKey(name, stage_key, stage.kind.artifact_shard(shard), content_key)


def _weights_read(stage: Stage, upstream: Uris, store: ListedStore) -> list[str] | None:
    """Identify the trained networks that a stage reads, by artifact name, and size and SHA-256 of the weights file.

    The size and the SHA-256 are needed because two training runs with the same key may give different weights on a GPU.

    Returns:
        One text per trained network; None if one of the networks does not exist yet.
    """
    names = [read.name for read in stage.upstream if read.kind.of_training]
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
            truth = [_truth_digest(photo)] if stage.needs_truth or stage.kind.of_evaluation else []
            digests[photo.image_id] = digest([photo_digest(photo), *truth, *rows, *weights_read])
    return digests


def _truth_digest(photo: Photo) -> str | None:
    """Return a text that changes when the true mask of a photo changes; None if the data set states no true mask."""
    return photo.truth_fingerprint or (None if photo.truth_uri is None else ABSENT)
