"""Warn if shards may take longer than `execution.shard_timeout_s`, and say which settings suffice for all stages."""

import logging
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.sharding import FEWEST_SHARDS
from clipes.tasks.plan.stage import Stage
from clipes.tasks.storage.layout import STATUS_FILE
from clipes.tasks.storage.listed_store import ListedStore
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.execution import MOST_SHARDS
from clipes_core.errors import BrokenArtifactError

NEAR = 0.5  # share of the time limit at which a shard may exceed it, because photos differ in size and hosts in load
ASSUMED_S = 1.0  # time per photo, if none was measured

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LargestShard:
    """The largest shard of a stage.

    Attributes:
        stage: name of the stage.
        photos: number of photos of the shard.
        seconds_per_photo: time of a worker per photo [s].
        source: where this time comes from, such as "assumed".
    """

    stage: str
    photos: int
    seconds_per_photo: float
    source: str

    @property
    def seconds(self) -> float:
        """Expected time of the shard [s]."""
        return self.photos * self.seconds_per_photo


def warn_of_time_limit(
    stages: Iterable[Stage], reused: Mapping[str, str], inputs: RunInputs, store: ListedStore
) -> None:
    """Log a warning if a shard may take longer than the time limit.

    Stages without a row per photo are left out, and those of which every shard has an artifact.

    Args:
        stages: stages of the run.
        reused: stage -> key under which the run looks for artifacts to reuse; empty if it reuses nothing.
        inputs: inputs of the run.
        store: store that holds the artifacts and the files of the last run of the same name.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    measured = measured_seconds(RunFiles(store.uri, inputs.config.name))
    limit_s = inputs.config.execution.shard_timeout_s
    found = []
    for stage in stages:
        if stage.kind.per_photo:
            largest = largest_shard(stage, inputs, measured.get(stage.name))
            # Looking into the store takes longer than comparing numbers, so it comes last.
            if is_near(largest, limit_s) and not _is_made(stage, reused, inputs, store):
                found.append(largest)
    warning = describe_excess(found, inputs.shard_count, limit_s)
    if warning is not None:
        logger.warning(warning)


def largest_shard(stage: Stage, inputs: RunInputs, measured: float | None) -> LargestShard:
    """Return the largest shard of a stage.

    Args:
        stage: stage with a row per photo.
        inputs: inputs of the run.
        measured: time per photo in this stage [s]; None if it is unknown, so that ASSUMED_S is used.
    """
    sizes = [stage.kind.row_count(stage, inputs, shard) for shard in stage.kind.shards(stage, inputs)]
    rate = (ASSUMED_S, "assumed") if measured is None else (measured, "measured in the last run")
    return LargestShard(stage.name, max(sizes, default=0), *rate)


def is_near(largest: LargestShard, limit_s: float) -> bool:
    """Return whether a shard is expected to take more than the share NEAR of the time limit [s]."""
    return largest.seconds > NEAR * limit_s


def describe_excess(largest: Iterable[LargestShard], shards: int, limit_s: float) -> str | None:
    """Say that shards may take longer than the time limit, and which settings suffice for all stages.

    Args:
        largest: the largest shard of each stage.
        shards: number of shards.
        limit_s: `execution.shard_timeout_s` [s].

    Returns:
        A sentence about the shard that takes longest; None if no shard takes more than the share NEAR of the limit.
    """
    longest = max(largest, key=lambda each: each.seconds, default=None)
    if longest is None or not is_near(longest, limit_s):
        return None
    advice = [f"execution.shard_timeout_s={math.ceil(longest.seconds / NEAR)}"]
    if longest.photos > 1:
        count, needed = max(shards, FEWEST_SHARDS), shards * longest.seconds / (NEAR * limit_s)
        doublings = math.ceil(math.log2(max(1, needed / count)))
        if count << doublings <= MOST_SHARDS:
            advice.insert(0, f"execution.shards={count << doublings}")
    return (
        f"{longest.stage}: the largest shard has {longest.photos} photos and takes about {longest.seconds:.0f} s at "
        f"{longest.seconds_per_photo:.2g} s per photo ({longest.source}), but execution.shard_timeout_s is {limit_s:g} "
        f"s. A shard that reaches this limit is stopped and continued, which takes longer: set {' or '.join(advice)}"
    )


def measured_seconds(files: RunFiles) -> dict[str, float]:
    """Return stage -> time of a worker per photo in a run [s]. Stages that computed nothing are left out.

    If the run was killed, its status.parquet does not say how many rows were copied. The time per photo then counts
    them, too.

    Args:
        files: files of the run. If one of them is damaged, the result is empty: the start of the next run reports it.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    seconds: dict[str, float] = {}
    photos: dict[str, int] = {}
    with suppress(BrokenArtifactError):
        if (metrics := files.read_metrics()) is not None:
            for stage, counts in metrics.get("stages", {}).items():
                seconds[stage], photos[stage] = counts["busy_seconds"], counts.get("computed_rows", 0)
        elif files.find(STATUS_FILE) is not None:
            for row in files.read_status():
                if row["state"] == "completed":
                    stage = row["stage"]
                    seconds[stage] = seconds.get(stage, 0) + row["seconds"]
                    photos[stage] = photos.get(stage, 0) + row["images"]
    return {stage: seconds[stage] / photos[stage] for stage in seconds if photos[stage]}


def _is_made(stage: Stage, reused: Mapping[str, str], inputs: RunInputs, store: ListedStore) -> bool:
    key = reused.get(stage.name)
    return key is not None and set(stage.kind.shards(stage, inputs)) <= store.stored_shards(stage.name, key)
