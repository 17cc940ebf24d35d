"""A program that is interrupted while it uses a worker pool: python interrupted_pools.py SCENARIO TRIALS.

It sends SIGINT to its process group, as a terminal does with Ctrl-C, and prints a line of JSON for each trial: how the
pool's block ended, and how the calls ended that two threads waited for.
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
    """Wait for a worker that stands still."""
    call(pool, time.sleep, 60, timeout_s=None)


def sleep_and_renew(pool: WorkerPool) -> None:
    """End the workers after the call, as a training does."""
    try:
        sleep_in(pool)
    finally:
        pool.renew()


def training(pool: WorkerPool, trial: int) -> float:
    """Start the workers; return when to interrupt the calls [s]."""
    for _ in SLOTS:
        call(pool, time.sleep, 0, timeout_s=None)
    return 0.1


def starting(pool: WorkerPool, trial: int) -> float:
    """Let the calls start the workers; return when to interrupt that [s], each time a little later."""
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
