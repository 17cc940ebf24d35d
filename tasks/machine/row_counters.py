"""Counters of the rows that workers have computed, shared between the workers and the process that started them."""

from collections.abc import Sequence

from clipes.tasks.machine.processes import SPAWN_CONTEXT


class Counters:
    """Counts the rows of each stage that the workers of this run have computed.

    A slot is the place of one worker process; if the process dies, a new one takes its place. Each slot has its own
    counters, and the count of a stage is the sum over all slots.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._slots: list[SlotCounters] = []

    def of_slot(self) -> "SlotCounters":
        """Add a slot and return its counters. A process that replaces the slot's worker continues to use them."""
        self._slots.append(SlotCounters(self._stages))
        return self._slots[-1]

    def count(self, stage: str) -> int:
        """Return how many rows of a stage all workers together have computed so far."""
        return sum(slot.count(stage) for slot in self._slots)

    def reset(self, stage: str) -> None:
        """Reset a stage's count to zero. Call only while no worker is computing the stage."""
        for slot in self._slots:
            slot.reset(stage)


class SlotCounters:
    """Counts the rows of each stage that the worker processes of one slot, one after the other, have computed.

    The counts are in shared memory without a lock. They need no lock, because only one process at a time writes them. A
    lock would even do harm: a worker that is killed while it holds the lock would block the other processes.
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
        """Return how many rows of a stage the workers of this slot have computed so far."""
        return self._rows[stage].value
