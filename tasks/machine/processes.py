"""The processes of this host: how clipes starts them, what is safe to fork, and whether they are alive."""

import atexit
import gc
import multiprocessing
import os
import threading
import time

import psutil

SPAWN_CONTEXT = multiprocessing.get_context("spawn")  # not fork: CUDA and threads do not work in a forked process
SAME_START_SECONDS = 0.05  # permitted difference; Linux counts start times in steps of 0.01 s
LONGEST_UPTIME = 30 * 365 * 24 * 3600.0  # [s]
SAME_START_SINCE_1970 = 30.0  # permitted difference of times since 1970, which change if the clock is set
OBJECTS_PER_COLLECTION = 100_000  # Python's default is 700


def collect_garbage_rarely() -> None:
    """Let this process search for garbage only after many new objects, and not at all when it ends.

    Imports create a million objects and hardly any garbage. With Python's default, a command that computes nothing
    spends an eighth of its time on these searches.
    """
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    atexit.register(gc.freeze)


class ForkSafeLock:
    """A lock for a `with` block that is free in a newly forked process, even if a thread of the parent holds it.

    In the forked process, an ordinary lock would never be released, because this thread does not exist there. What the
    lock protects must be usable in any state in which a thread can leave it.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        self._locks.setdefault(os.getpid(), threading.Lock()).acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()


def started_at(pid: int) -> float:
    """Return the start time of a process [s since the start of the host]. It stays the same if the clock is set.

    Raises:
        psutil.NoSuchProcess: no process has this id.
    """
    return _started_at(psutil.Process(pid))


def seconds_since_start() -> float:
    """Return the age of this process [s]."""
    return time.time() - psutil.Process().create_time()


def is_alive(pid: int, started: float) -> bool:
    """Return whether a process is still running. A different process that now has the same id does not count.

    Args:
        pid: id of the process.
        started: start time of the process, as `started_at` returned it earlier.
    """
    try:
        process = psutil.Process(pid)
        if started > LONGEST_UPTIME:  # earlier versions of clipes recorded a time since 1970
            same = abs(process.create_time() - started) < SAME_START_SINCE_1970
        else:
            same = abs(_started_at(process) - started) < SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _started_at(process: psutil.Process) -> float:
    # If the clock is set, both times change by the same amount.
    return float(process.create_time() - psutil.boot_time())
