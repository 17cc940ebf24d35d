"""Counters of the rows that workers have computed, shared between the workers and the process that started them."""

from collections.abc import Sequence

from clipes.tasks.machine.processes import SPAWN_CONTEXT


class Counters:
    """For each stage, the number of rows that the workers of this run have computed.

    A slot holds one worker process at a time. If this process dies, a new process takes over the slot. Each slot has
    its own counters, and the count of a stage is the sum over all slots.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._slots: list[SlotCounters] = []

    def of_slot(self) -> "SlotCounters":
        """Add a slot and return its counters. If the slot's process is replaced, the new process uses the same ones."""
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
    """For each stage, the number of rows that the successive worker processes of one slot have computed.

    The counts are in shared memory without a lock. No lock is needed, because only one process at a time writes the
    counts. A lock would do harm: a worker that is killed while it holds the lock would block the other processes.
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
