"""Decide which artifacts count as cached, and which rows a run copies from earlier artifacts."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.plan.shard_parts import find_parts
from clipes.tasks.plan.sharding import parent_shards
from clipes.tasks.plan.stage import Stage
from clipes.tasks.storage.layout import ArtifactKey, is_part
from clipes.tasks.storage.listed_store import ListedStore
from clipes.tasks.storage.parquet.errors import MISSING
from clipes_core.config.execution import MOST_SHARDS
from clipes_core.errors import BrokenArtifactError, ErrorKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reuse:
    """Settings that decide which artifacts and rows of the store a run reuses.

    Attributes:
        fresh: if True, the run reuses nothing.
        verify: if True, the run reuses an artifact only after it has read the artifact completely and verified all of
            its checksums. If False, only the artifacts of `pooled` stages are verified in this way.
        retry_errors: if True, rows that failed for a permanent cause are computed again. This setting does not affect
            two other kinds of failed rows. A row that failed for a transient cause is always computed again. A row that
            failed because its upstream row failed is computed again only if the upstream row changes.
        continues: if True, this run has begun to make the shard before. Even a `fresh` run then reuses the rows that it
            has kept in the parts of the shard.
    """

    fresh: bool = False
    verify: bool = False
    retry_errors: bool = False
    continues: bool = False

    def takes_row(self, error_kind: str | None) -> bool:
        """Return whether a row with this kind of error may be reused.

        Args:
            error_kind: kind of the row's error; None if the row holds a result.
        """
        if error_kind is None or error_kind == ErrorKind.UPSTREAM:
            return True
        return not (self.retry_errors or ErrorKind(error_kind).transient)


REUSE_ALL = Reuse()


def is_cached(stage: Stage, key: ArtifactKey, rows: int, store: ListedStore, reuse: Reuse) -> bool:
    """Return whether a shard counts as cached: its artifact exists, is complete, and all of its rows may be reused.

    Args:
        stage: stage of the shard.
        key: key of the shard's artifact.
        rows: number of rows of the shard, as `RowKind.row_count` returns it.
        store: store that holds the artifacts.
        reuse: settings that decide what is reused.

    Raises:
        BrokenArtifactError: `reuse.retry_errors` is True, and the column `error_kind` of the artifact is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    if reuse.fresh or not store.is_complete(key, stage.kind.stored_rows(rows), _read_completely(stage, reuse)):
        return False
    return not (stage.kind.per_photo and reuse.retry_errors and _has_rows_to_retry(key, store, reuse))


def rows_to_copy(
    stage: Stage,
    key: ArtifactKey,
    input_digests: Mapping[str, str],
    store: ListedStore,
    reuse: Reuse,
    shard_count: int = 1,
) -> dict[str, tuple[str, ...]]:
    """Find the rows of a shard that can be copied because their inputs are the same.

    The rows are copied from the parts that killed attempts have left, from earlier artifacts of the shard, and from
    artifacts that were made when there were fewer or more shards. Damaged files are skipped with a warning.

    Args:
        stage: stage of the shard.
        key: key of the shard's artifact.
        input_digests: image_id -> digest of the inputs of the photo's row.
        store: store that holds the artifacts.
        reuse: settings that decide what is reused.
        shard_count: number of shards into which the photos of the run are divided.

    Returns:
        URI of a part or an earlier artifact -> ids of the photos whose rows are copied from it. The parts come first,
        then the artifacts of this shard, the newest first, and last those of the shards that had its photos when the
        number of shards was a half, a quarter and so on, or was doubled once or more.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    if not stage.kind.per_photo:
        return {}
    missing = set(input_digests)
    copies: dict[str, tuple[str, ...]] = {}
    for uri in _files_to_copy_from(key, store, reuse, shard_count):
        if not missing:
            break
        try:
            if _read_completely(stage, reuse):
                store.check_whole(uri)
            rows = store.read(uri, ["image_id", "input_digest", "error_kind"]).to_pylist()
        except BrokenArtifactError as broken:  # copy the rows from an older artifact, or compute them
            finished = is_part(uri) and broken.reason == MISSING  # another run has just finished the shard
            if uri != store.artifact_uri(key) and not finished:  # is_complete has already reported its damage
                logger.warning("%s %s: clipes copies no rows from it", broken.uri, broken.reason)
            continue
        wanted = (row for row in rows if _is_of(row, missing, input_digests))
        reusable = tuple(row["image_id"] for row in wanted if reuse.takes_row(row["error_kind"]))
        if reusable:
            copies[uri] = reusable
            missing.difference_update(reusable)
    return copies


def _files_to_copy_from(key: ArtifactKey, store: ListedStore, reuse: Reuse, shard_count: int) -> Iterator[str]:
    if reuse.continues:  # a worker of this run may have written parts since the store was listed
        yield from find_parts(store, key)
    elif not reuse.fresh:
        yield from store.listed_parts(key)
    if not reuse.fresh:
        finer = store.stored_shards(key.stage, key.stage_key, range(key.shard + shard_count, MOST_SHARDS, shard_count))
        for shard in (key.shard, *parent_shards(key.shard, shard_count), *sorted(finer)):
            yield from store.shard_artifacts(key.stage, key.stage_key, shard)


def _read_completely(stage: Stage, reuse: Reuse) -> bool:
    return reuse.verify or stage.pooled


def _has_rows_to_retry(key: ArtifactKey, store: ListedStore, reuse: Reuse) -> bool:
    kinds = store.read(store.artifact_uri(key), ["error_kind"])["error_kind"].to_pylist()
    return not all(reuse.takes_row(kind) for kind in kinds)


def _is_of(row: Mapping[str, Any], missing: set[str], input_digests: Mapping[str, str]) -> bool:
    image_id = row["image_id"]
    return image_id in missing and row["input_digest"] == input_digests[image_id]
