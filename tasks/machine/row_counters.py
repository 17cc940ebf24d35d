"""Counters of the rows that workers have computed, shared between the workers and the process that started them."""

from collections.abc import Sequence

from clipes.tasks.machine.processes import SPAWN_CONTEXT


class Counters:
    """Counters of the rows that the workers of this run have computed per stage; a count is the sum over all slots."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._slots: list[SlotCounters] = []

    def of_slot(self) -> "SlotCounters":
        """Add a slot and return its counters; if a worker is replaced, the new one continues with them."""
        self._slots.append(SlotCounters(self._stages))
        return self._slots[-1]

    def count(self, stage: str) -> int:
        """Return the number of rows of a stage so far."""
        return sum(slot.count(stage) for slot in self._slots)

    def reset(self, stage: str) -> None:
        """Reset a stage's count to zero. Call only while no worker is computing the stage."""
        for slot in self._slots:
            slot.reset(stage)


class SlotCounters:
    """Counters of the rows that the workers of one slot have computed per stage.

    The values have no lock, because only one process writes them. With a lock, a worker that is killed while it writes
    would block the other processes.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._rows = {stage: SPAWN_CONTEXT.RawValue("q", 0) for stage in stages}

    def add(self, stage: str, rows: int = 1) -> None:
        """Add rows to the count of a stage."""
        self._rows[stage].value += rows

    def reset(self, stage: str) -> None:
        """Reset a stage's count to zero. Call only while no worker is computing the stage."""
        self._rows[stage].value = 0

    def count(self, stage: str) -> int:
        """Return the number of rows of a stage so far."""
        return self._rows[stage].value
