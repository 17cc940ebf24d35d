"""Progress while a run goes on: bars on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

REFRESH_SECONDS = 0.5
LINE_SECONDS = 10.0

Count = Callable[[str], int]


@contextmanager
def shown_progress(totals: Mapping[str, int], done: Count, stream: TextIO | None = None) -> Iterator[None]:
    """Show how far each stage is while the block runs.

    Args:
        totals: stage -> rows it will have.
        done: rows of a stage so far.
        stream: default standard error.
    """
    stream = stream or sys.stderr
    show = _bars if stream.isatty() else _lines
    stop = threading.Event()
    thread = threading.Thread(target=show, args=(totals, done, stop, stream), daemon=True, name="progress")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bars(totals: Mapping[str, int], done: Count, stop: threading.Event, stream: TextIO) -> None:
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as progress:
        bars = {stage: progress.add_task(stage, total=total) for stage, total in totals.items()}
        while True:
            ended = stop.wait(REFRESH_SECONDS)
            for stage, bar in bars.items():
                progress.update(bar, completed=min(done(stage), totals[stage]))
            if ended:
                return


def _lines(totals: Mapping[str, int], done: Count, stop: threading.Event, stream: TextIO) -> None:
    started, shown = time.monotonic(), dict.fromkeys(totals, 0)
    while True:
        ended = stop.wait(LINE_SECONDS)
        for stage, total in totals.items():
            count = min(done(stage), total)
            if count != shown[stage]:
                seconds = time.monotonic() - started
                print(f"{stage}: {count}/{total} after {seconds:.0f} s", file=stream, flush=True)
                shown[stage] = count
        if ended:
            return
