"""Processes of this machine: whether one that was written down still is."""

import psutil

SAME_START_SECONDS = 30.0  # it is told by the system's clock, which may be set


def started_at(pid: int) -> float:
    """When a process began [s since 1970].

    Raises:
        psutil.NoSuchProcess: there is none of this number.
    """
    return float(psutil.Process(pid).create_time())


def is_alive(pid: int, started: float) -> bool:
    """Whether the process of this number that began then still runs; another one may have got its number since.

    Args:
        pid: its number.
        started: as `started_at` gave it.
    """
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
