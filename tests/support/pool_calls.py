"""Worker pools for tests, and calls of functions in their workers, as the local runner makes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot


def call(pool: WorkerPool, function: Callable[..., Any], *args: Any, timeout_s: float | None = 60.0) -> Any:
    """Call a function in an idle worker, and return its result."""
    with pool.idle_worker(timeout_s) as start:
        return start(function, *args).result()


@contextmanager
def worker_pool(slots: Sequence[WorkerSlot], counters: Counters) -> Iterator[WorkerPool]:
    """Yield a pool, and close it at the end of the block."""
    pool = WorkerPool(slots, counters)
    try:
        yield pool
    finally:
        pool.close()
