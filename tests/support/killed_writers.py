"""Processes that record or export a run, and are killed while they write its files."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Literal

from support.exported_runs import MasksRun
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


def export_and_kill(run: MasksRun, format_name: str, to: Path, write: int, when: When) -> bool:
    """Export a run with photos in a process that is killed at a write; return whether it was killed.

    Args:
        run: the run.
        format_name: name of the format.
        to: target folder.
        write: number of the write, from 1.
        when: whether the process is killed just before or just after the file gets its name.
    """
    process = multiprocessing.get_context("spawn").Process(target=_export, args=(run, format_name, to, write, when))
    process.start()
    process.join(60)
    return process.exitcode == -signal.SIGKILL


def _export(run: MasksRun, format_name: str, to: Path, write: int, when: When) -> None:
    from clipes.tasks.commands import output_folder

    output_folder.BATCH_FILES = 3  # so that the digests of a few files are announced in several parts
    kill_at(write, when)
    run.export(format_name, to, photos=True)


def _record(made: Made, write: int, when: When, at: Phase) -> None:
    from clipes.tasks.runs.record.recorder import RunRecord

    close = RunRecord.close

    def close_killed(record: RunRecord, *outcome: str) -> None:
        kill_at(write, when)
        close(record, *outcome)

    if at == "start":
        kill_at(write, when)
    else:
        RunRecord.close = close_killed
    write_run_files(made)


def kill_at(write: int, when: When) -> None:
    """Kill this process just before or just after the given number of files have got their names."""
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
