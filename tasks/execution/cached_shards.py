"""Find the cached shards of a stage before any task run starts, so that all of them can share one task run."""

import threading
from collections.abc import Iterable

from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.plan.jobs import ShardRecord
from clipes_core.errors import BrokenArtifactError, StorageError, TransientError


def find_cached(stage_shards: StageShards, shards: Iterable[int]) -> dict[int, ShardRecord]:
    """Find cached shards of a stage.

    Leave out shards that must be verified completely, whose upstream shards have not finished, or whose look-up fails.
    Their own task runs look for them again, and handle the errors.

    Args:
        stage_shards: the shards of the stage.
        shards: numbers of the shards to look for.

    Returns:
        Number of a cached shard -> its record.
    """
    candidates, failed = _candidates(stage_shards, shards), threading.Event()

    def look_up(shard: int) -> ShardRecord | None:
        try:
            return None if failed.is_set() else stage_shards.cached(stage_shards.plan(shard))
        except BrokenArtifactError:
            return None
        except Exception:  # of any type, because the shard's own task run meets the error again and reports it
            failed.set()
            return None

    return {record.shard: record for record in map_in_threads(look_up, candidates) if record is not None}


def _candidates(stage_shards: StageShards, shards: Iterable[int]) -> list[int]:
    """Return the shards that have an artifact, which may be an older one, and whose upstream shards have finished."""
    run, stage = stage_shards.run, stage_shards.stage
    ready = [] if run.reuse.fresh or run.reuse.verify else [*filter(stage_shards.can_start, shards)]
    if not ready or stage.stored_as is not None:  # in the second case, each shard has a folder of its own
        return ready
    try:
        stored = run.store.stored_shards(stage.name, run.keys[stage.name])
    except (StorageError, TransientError):
        return []
    return [shard for shard in ready if shard in stored]
