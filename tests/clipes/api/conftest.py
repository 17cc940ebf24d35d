"""A worker process that the tests of the Python functions share."""

from collections.abc import Iterator

import pytest
from support.pool_calls import worker_pool

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.stages.registry import STAGES


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """Yield one CPU worker with one thread."""
    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as pool:
        yield pool
