"""Processes that tests may leave behind."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil


def processes_of_home(prefect_home: Path) -> list[psutil.Process]:
    """Return the processes other than this one that were started with this PREFECT_HOME and still run."""
    return [
        process
        for process in psutil.process_iter(["environ", "status"])
        if process.pid != os.getpid()
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and (process.info["environ"] or {}).get("PREFECT_HOME") == str(prefect_home)
    ]


def all_end_within(seconds: float, processes: Sequence[psutil.Process]) -> bool:
    """Return whether all processes end within this time; a zombie counts as ended."""
    end = time.monotonic() + seconds
    while any(map(_runs, processes)) and time.monotonic() < end:
        time.sleep(0.1)
    return not any(map(_runs, processes))


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
