"""The counts of a stage, as metrics.json and the tables show them."""

from collections.abc import Iterable
from dataclasses import dataclass

from clipes.tasks.runs.ledger import Ledger


@dataclass(frozen=True)
class StageSummary:
    """The counts and times of a stage in metrics.json. The times cover only this run.

    Attributes:
        seconds_per_row: time of a worker for a computed row [s], without loading networks and compiling code if
            possible; None if no row was computed.
        cpu_seconds_per_row: processor time for a computed row [s], likewise.
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


def summaries(ledger: Ledger, stages: Iterable[str]) -> dict[str, StageSummary]:
    """Return stage -> counts of the stage. A given stage is left out if it is not part of the run."""
    states: dict[str, list[str]] = {}
    for status in ledger.statuses():
        states.setdefault(status.stage, []).append(status.state)
    return {stage: _summary(ledger, stage, states[stage]) for stage in stages if stage in states}


def _summary(ledger: Ledger, stage: str, states: list[str]) -> StageSummary:
    records, (wall, busy) = ledger.records(stage), ledger.seconds(stage)
    made = [record for record in records if record.computed and not record.copied]
    timed = [record for record in made if record.warm] or made
    rows = sum(record.computed for record in timed)
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
        peak_memory_mib=max((record.peak_memory_mib for record in records), default=0),
        seconds_per_row=sum(record.seconds for record in timed) / rows if rows else None,
        cpu_seconds_per_row=sum(record.cpu_seconds for record in timed) / rows if rows else None,
    )
