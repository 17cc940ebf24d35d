"""Counters of the rows that running calls have computed, shared between workers and the process that started them."""

from collections.abc import Sequence

from clipes.tasks.machine.processes import SPAWN_CONTEXT


class Counters:
    """For each stage, the number of rows that the calls which run now have computed so far.

    A slot holds one worker process at a time. If this process dies, a new process takes over the slot. Each slot has
    its own counters, and the count of a stage is the sum over all slots. The rows of a call that has ended do not count
    here: those of a finished shard are in its record, and those of a failed attempt are computed again or copied.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._slots: list[SlotCounters] = []

    def of_slot(self) -> "SlotCounters":
        """Add a slot and return its counters. If the slot's process is replaced, the new process uses the same ones."""
        self._slots.append(SlotCounters(self._stages))
        return self._slots[-1]

    def count(self, stage: str) -> int:
        """Return how many rows of a stage the running calls of all workers together have computed so far."""
        return sum(slot.count(stage) for slot in self._slots)


class SlotCounters:
    """For each stage, the number of rows that the running call in one slot has computed so far.

    The counts are in shared memory without a lock. No lock is needed, because the worker process writes the counts
    during a call, and the process that has started it sets them to zero after the call. A lock would do harm: a worker
    that is killed while it holds the lock would block the other processes.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._rows = {stage: SPAWN_CONTEXT.RawValue("q", 0) for stage in stages}

    def add(self, stage: str, rows: int = 1) -> None:
        """Add rows to the count of a stage."""
        self._rows[stage].value += rows

    def clear(self) -> None:
        """Set all counts to zero. Call only after the worker's call has ended."""
        for rows in self._rows.values():
            rows.value = 0

    def count(self, stage: str) -> int:
        """Return how many rows of a stage the running call has computed so far."""
        return self._rows[stage].value
