"""Warn if the largest shard of a stage may take longer than `execution.shard_timeout_s`."""

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

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rate:
    """The time per photo in a stage.

    Attributes:
        seconds: time of a worker per photo [s].
        source: where the time comes from, such as "assumed".
    """

    seconds: float
    source: str


ASSUMED = Rate(1.0, "assumed")


def warn_of_time_limit(
    stages: Iterable[Stage], reused: Mapping[str, str], inputs: RunInputs, store: ListedStore
) -> None:
    """Log a warning for each stage whose largest shard may take longer than the time limit.

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
    for stage in stages:
        warning = time_limit_warning(stage, inputs, measured.get(stage.name)) if stage.kind.per_photo else None
        if warning is not None and not _is_made(stage, reused, inputs, store):
            logger.warning(warning)


def time_limit_warning(stage: Stage, inputs: RunInputs, measured: float | None) -> str | None:
    """Return a warning if the largest shard of a stage may take longer than the time limit; None if it does not.

    Args:
        stage: stage with a row per photo.
        inputs: inputs of the run.
        measured: time per photo in this stage [s]; None if it is unknown, so that ASSUMED is used.
    """
    sizes = [stage.kind.row_count(stage, inputs, shard) for shard in stage.kind.shards(stage, inputs)]
    rate = ASSUMED if measured is None else Rate(measured, "measured in the last run")
    limit_s = inputs.config.execution.shard_timeout_s
    return describe_excess(stage.name, max(sizes, default=0), inputs.shard_count, rate, limit_s)


def describe_excess(stage: str, photos: int, shards: int, rate: Rate, limit_s: float) -> str | None:
    """Say that the largest shard of a stage may take longer than the time limit; None if it takes less than NEAR of it.

    Args:
        stage: name of the stage.
        photos: number of photos of the largest shard.
        shards: number of shards.
        rate: time per photo.
        limit_s: `execution.shard_timeout_s` [s].
    """
    expected = photos * rate.seconds
    if expected <= NEAR * limit_s:
        return None
    advice = [f"execution.shard_timeout_s={math.ceil(expected / NEAR)}"]
    if photos > 1:
        count, needed = max(shards, FEWEST_SHARDS), shards * expected / (NEAR * limit_s)
        doublings = math.ceil(math.log2(max(1, needed / count)))
        if count << doublings <= MOST_SHARDS:
            advice.insert(0, f"execution.shards={count << doublings}")
    return (
        f"{stage}: the largest shard has {photos} photos and takes about {expected:.0f} s at {rate.seconds:.2g} s per "
        f"photo ({rate.source}), but execution.shard_timeout_s is {limit_s:g} s. A shard that reaches this limit is "
        f"stopped and continued, which takes longer: set {' or '.join(advice)}"
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
