"""The counts of a stage, as metrics.json and the tables show them."""

from collections.abc import Iterable
from dataclasses import dataclass

from clipes.tasks.runs.ledger import Ledger


@dataclass(frozen=True)
class StageSummary:
    """The counts and times of a stage in metrics.json. The wall and busy times cover only this run.

    Attributes:
        peak_memory_mib: peak memory of the workers that made the artifacts, in this run or earlier [MiB].
        seconds_per_row: time of a worker for a computed row [s], without loading networks and compiling code if
            possible; of cached artifacts, the time when they were made. None if it is not known for any row.
        cpu_seconds_per_row: processor time for a computed row [s], likewise.
        peak_gpu_memory_mib: peak memory of a worker's tensors on its GPU [MiB], likewise; None without GPUs.
    """

    images: int
    shards: int
    cached_shards: int
    computed_shards: int
    failed_shards: int
    copied_rows: int
    computed_rows: int
    wall_seconds: float
    busy_seconds: float
    peak_memory_mib: int
    seconds_per_row: float | None
    cpu_seconds_per_row: float | None
    peak_gpu_memory_mib: int | None


def summaries(ledger: Ledger, stages: Iterable[str]) -> dict[str, StageSummary]:
    """Return stage -> counts of the stage. A given stage is left out if it is not part of the run."""
    states: dict[str, list[str]] = {}
    for status in ledger.statuses():
        states.setdefault(status.stage, []).append(status.state)
    return {stage: _summary(ledger, stage, states[stage]) for stage in stages if stage in states}


def _summary(ledger: Ledger, stage: str, states: list[str]) -> StageSummary:
    records, (wall, busy) = ledger.records(stage), ledger.seconds(stage)
    costs = [record.cost for record in records if record.cost is not None]
    made = [cost for cost in costs if cost.rows]
    timed = [cost for cost in made if cost.warm] or made
    rows = sum(cost.rows for cost in timed)
    on_gpu = [cost.peak_gpu_memory_mib for cost in costs if cost.peak_gpu_memory_mib is not None]
    return StageSummary(
        images=sum(record.images for record in records),
        shards=len(states),
        cached_shards=states.count("cached"),
        computed_shards=states.count("completed"),
        failed_shards=states.count("failed"),
        copied_rows=sum(record.copied for record in records),
        computed_rows=sum(record.computed for record in records),
        wall_seconds=wall,
        busy_seconds=busy,
        peak_memory_mib=max((cost.peak_memory_mib for cost in costs), default=0),
        seconds_per_row=sum(cost.seconds for cost in timed) / rows if rows else None,
        cpu_seconds_per_row=sum(cost.cpu_seconds for cost in timed) / rows if rows else None,
        peak_gpu_memory_mib=max(on_gpu, default=None),
    )
