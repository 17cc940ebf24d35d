"""Limit the memory that the threads of a process use at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """An amount of memory that threads share. A thread reserves what it needs, and waits until that much is free.

    Args:
        total_bytes: size of the budget.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total = self._free = total_bytes
        self._first = threading.Lock()  # held by the one thread that waits for memory, so that nobody overtakes it
        self._returned = threading.Condition()

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Reserve memory while the `with` block runs. If the block needs more than the budget, the block runs alone.

        Args:
            size_bytes: memory that the block needs.
        """
        size = min(size_bytes, self._total)
        with self._first, self._returned:
            self._returned.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._returned:
                self._free += size
                self._returned.notify()
