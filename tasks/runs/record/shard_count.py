"""Decide the number of shards of a run; by default, a run keeps the number of the last run of the same name."""

import logging
from collections.abc import Mapping
from typing import Any

from clipes.tasks.plan.sharding import FEWEST_SHARDS, count_shards, is_doubled_or_halved
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import RunConfig
from clipes_core.errors import BrokenArtifactError

logger = logging.getLogger(__name__)


def decide_count(config: RunConfig, photos: int) -> int:
    """Return the number of shards of a run.

    Log it if it is not the number that the config states, or if the last run of the same name had another number.

    Args:
        config: configuration of the run.
        photos: number of photos.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    stated, before = config.execution.shards, last_count(config)
    count = count_shards(stated, photos, before)
    if stated not in ("auto", count):
        logger.info("%d shards instead of execution.shards=%d, because there are only %d photos", count, stated, photos)
    if before is not None and count != before:
        logger.info(
            "%d shards instead of the %d of the last run named %s (%s): clipes %s",
            count,
            before,
            config.name,
            f"execution.shards={stated}" if stated == count else f"there are {photos} photos",
            "copies the finished rows to the new shards"
            if is_doubled_or_halved(before, count)
            else f"computes the photos that move to another shard again; execution.shards={before} would avoid this",
        )
    return count


def recorded_count(run: Mapping[str, Any]) -> int:
    """Return the number of shards of a run.

    Args:
        run: content of the run's run.json. Those of earlier versions state the number only in the config.
    """
    stated = run.get("shards", run["config"].get("execution", {}).get("shards"))
    return stated if isinstance(stated, int) else FEWEST_SHARDS


def last_count(config: RunConfig) -> int | None:
    """Return the number of shards of the last run of the same name; None if there is none, or its record is damaged.

    Args:
        config: configuration of the run. A name with a placeholder has no last run.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    try:
        last = RunFiles(config.store, config.name).read_run()
    except BrokenArtifactError:  # the start of the run reports it
        return None
    return None if last is None else recorded_count(last)
