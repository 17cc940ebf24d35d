"""The processes of this host: how clipes starts them, and whether they are alive."""

import multiprocessing

import psutil

SPAWN_CONTEXT = multiprocessing.get_context("spawn")  # not fork: CUDA and threads do not work in a forked process
SAME_START_SECONDS = 30.0  # permitted difference; if the system clock is set, the start time of a process changes


def started_at(pid: int) -> float:
    """Return the start time of a process [s since 1970].

    Raises:
        psutil.NoSuchProcess: no process has this id.
    """
    return float(psutil.Process(pid).create_time())


def is_alive(pid: int, started: float) -> bool:
    """Return whether a process is still running. A different process that now has the same id does not count.

    Args:
        pid: id of the process.
        started: start time of the process, as `started_at` returned it earlier.
    """
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
