"""Processes of this host: how they start, and which of them are alive."""

import multiprocessing

import psutil

SPAWN_CONTEXT = multiprocessing.get_context("spawn")  # because CUDA and threads do not survive a fork
SAME_START_SECONDS = 30.0  # start times follow the system's clock, which somebody may set


def started_at(pid: int) -> float:
    """Return the start time of a process [s since 1970].

    Raises:
        psutil.NoSuchProcess: no process has this number.
    """
    return float(psutil.Process(pid).create_time())


def is_alive(pid: int, started: float) -> bool:
    """Return whether a process still runs, and has not been replaced by another one with the same number.

    Args:
        pid: its number.
        started: its start time as `started_at` returned it.
    """
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
