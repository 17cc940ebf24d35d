"""Counters of the rows that workers have computed, shared between the workers and the process that started them."""

from collections.abc import Sequence

from clipes.tasks.machine.processes import SPAWN_CONTEXT


class Counters:
    """Counters of the rows that the workers of this run have computed per stage, summed over their slots."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._slots: list[SlotCounters] = []

    def of_slot(self) -> "SlotCounters":
        """Add a slot and return its counters, which its workers use one after the other."""
        self._slots.append(SlotCounters(self._stages))
        return self._slots[-1]

    def count(self, stage: str) -> int:
        """Return the rows of a stage so far."""
        return sum(slot.count(stage) for slot in self._slots)

    def reset(self, stage: str) -> None:
        """Set a stage to zero while no worker computes it."""
        for slot in self._slots:
            slot.reset(stage)


class SlotCounters:
    """Counters of the rows that the workers of one slot have computed per stage.

    The values have no lock: only one process writes them, and a worker that is killed while it writes must not block
    another process.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._rows = {stage: SPAWN_CONTEXT.RawValue("q", 0) for stage in stages}

    def add(self, stage: str, rows: int = 1) -> None:
        """Count rows of a stage."""
        self._rows[stage].value += rows

    def reset(self, stage: str) -> None:
        """Set a stage to zero while no worker counts it."""
        self._rows[stage].value = 0

    def count(self, stage: str) -> int:
        """Return the rows of a stage so far."""
        return self._rows[stage].value
