"""A program that is interrupted while it uses a worker pool: python interrupted_pools.py SCENARIO TRIALS.

The program sends SIGINT to its process group, as a terminal does at Ctrl-C. For each trial it prints a line of JSON:
how the block of the pool ended, and how the calls ended for which two threads waited.
"""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from support.pool_calls import call, worker_pool

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot

SLOTS = [WorkerSlot("cpu", 1)] * 2


def sleep_in(pool: WorkerPool) -> None:
    """Wait for a worker that sleeps."""
    call(pool, time.sleep, 60, timeout_s=None)


def sleep_and_renew(pool: WorkerPool) -> None:
    """Wait for a worker that sleeps, then end the idle workers, as a training does."""
    try:
        sleep_in(pool)
    finally:
        pool.renew()


def training(pool: WorkerPool, trial: int) -> float:
    """Start the workers, and return after how many seconds to interrupt the calls."""
    for _ in SLOTS:
        call(pool, time.sleep, 0, timeout_s=None)
    return 0.1


def starting(pool: WorkerPool, trial: int) -> float:
    """Leave the start of the workers to the calls, and return a delay [s] that grows with each trial."""
    return 0.03 * trial


def trial_of(scenario: str, trial: int) -> None:
    ends = {}
    with ThreadPoolExecutor(2) as threads:
        try:
            with worker_pool(SLOTS, Counters(())) as pool:
                wait = (training if scenario == "training" else starting)(pool, trial)
                function = sleep_and_renew if scenario == "training" else sleep_in
                calls = [threads.submit(function, pool) for _ in SLOTS]
                time.sleep(wait)
                os.killpg(0, signal.SIGINT)
                time.sleep(60)
        except BaseException as end:
            ends["block"] = repr(end)
    ends["calls"] = [repr(each.exception()) for each in calls]
    print(json.dumps(ends), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in range(int(sys.argv[2])):
        trial_of(sys.argv[1], number)
