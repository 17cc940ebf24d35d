"""A process that records a run, and is killed while it writes the first or the last files of the run."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Literal

from support.report_runs import write_run_files
from support.small_runs import Made

When = Literal["before", "after"]
Phase = Literal["start", "end"]


def record_and_kill(made: Made, write: int, when: When, at: Phase = "end") -> bool:
    """Record a run whose shards are made, in a process that is killed at one of the writes that start or end the run.

    Args:
        made: run with the records of its shards.
        write: number of the write, from 1.
        when: whether the process is killed just before or just after the file gets its name.
        at: whether the writes are counted from the start of the run, or from the start of its end.

    Returns:
        Whether the process was killed; if False, there are fewer writes.
    """
    process = multiprocessing.get_context("spawn").Process(target=_record, args=(made, write, when, at))
    process.start()
    process.join(60)
    return process.exitcode == -signal.SIGKILL


def _record(made: Made, write: int, when: When, at: Phase) -> None:
    from clipes.tasks.runs.record.recorder import RunRecord

    close = RunRecord.close

    def close_killed(record: RunRecord, *outcome: str) -> None:
        _kill_at(write, when)
        close(record, *outcome)

    if at == "start":
        _kill_at(write, when)
    else:
        RunRecord.close = close_killed
    write_run_files(made)


def _kill_at(write: int, when: When) -> None:
    replace, writes = Path.replace, iter(range(1, write + 1))

    def counted(path: Path, target: str) -> Path:
        last = next(writes) == write
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = replace(path, target)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Path.replace = counted
