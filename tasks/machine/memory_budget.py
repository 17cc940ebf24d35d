"""Find out how much memory is free, and limit the memory that the threads of a process use at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
# The limit of a container, what it uses, and what this consists of, in cgroups of version 2 and of version 1. A
# container sees its own cgroup as the root.
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def available_bytes(cgroups: Path = CGROUPS) -> int:
    """Return the memory that new processes can use without swapping: of this machine, or of this container if less.

    A container's usage includes the cache of files that were read. Linux frees this cache as soon as a process needs
    the memory, so it counts as available.

    Args:
        cgroups: folder in which Linux describes control groups.
    """
    found = [psutil.virtual_memory().available]
    for limit, used, parts in CGROUP_FILES:
        if (cgroups / limit).exists() and (text := (cgroups / limit).read_text().strip()) != "max":
            cache = dict(line.split() for line in (cgroups / parts).read_text().splitlines()).get("inactive_file", 0)
            found.append(max(0, int(text) - int((cgroups / used).read_text()) + int(cache)))
    return min(found)


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
