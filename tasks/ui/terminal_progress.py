"""The progress of a run: bars if the output is a terminal that is wide enough, plain lines otherwise."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.terminal import TerminalConsole
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.ui.durations import rough_duration

REFRESH_SECONDS = 0.5
LINE_SECONDS = 10.0
TIMES, SHORTEST_BAR = len("0:00:00 00:00:00"), 10  # [columns of the terminal]


@dataclass(frozen=True)
class Done:
    """The number of finished rows of a stage.

    Attributes:
        computed: number of rows computed by this run. It falls if a worker dies before its shard is finished. In a
            training, iterations count as rows. If the training has resumed from a checkpoint, the iterations before the
            checkpoint count too.
        reused: number of cached or copied rows.
    """

    computed: int
    reused: int = 0


Count = Callable[[str], Done]


class StageProgress:
    """The progress of a stage in words, with an estimate of the remaining time.

    Reused rows take no time, so the estimate uses only the rate at which this run computes rows.

    Args:
        stage: name of the stage.
        total: number of rows that the stage will have.
        now: current time [s].

    Attributes:
        count: number of finished rows, at most `total`.
    """

    def __init__(self, stage: str, total: int, now: float) -> None:
        unit = STAGES[stage].kind.unit
        self._total, self._rows = total, f" {unit}" if unit else ""
        self._restarts = STAGES[stage].kind.of_training  # all other stages continue with their other shards
        self.count, self._computed, self._now = 0, 0, now
        self._start = self._first = (now, 0)

    def update(self, done: Done, now: float) -> None:
        """Record the number of finished rows at the time `now` [s]."""
        if done.computed == 0 and self._computed:
            return  # the only running job has just ended, and its record or its next attempt will count soon
        if done.computed == 0 or (self._restarts and done.computed < self._computed):
            self._start = self._first = (now, 0)
        elif self._first[1] == 0:
            self._first = (now, done.computed)
        self._computed, self._now = done.computed, now
        self.count = min(done.computed + done.reused, self._total)

    @property
    def text(self) -> str:
        """A text such as "120 of 600 iterations after 35 s, about 2 min to go"."""
        seconds = self._now - self._start[0]
        return f"{self.count} of {self._total}{self._rows} after {seconds:.0f} s{self._to_go()}"

    def _to_go(self) -> str:
        since, before = self._first
        if before == 0 or self._computed <= before or self.count == self._total:
            return ""
        seconds = (self._total - self.count) * (self._now - since) / (self._computed - before)
        return f", about {rough_duration(max(seconds, 1))} to go"


@contextmanager
def show_progress(totals: Mapping[str, int], done: Count, stream: TextIO | None = None) -> Iterator[None]:
    """Show the progress of each stage while the block runs.

    Args:
        totals: name of a stage -> number of rows that the stage will have.
        done: function from the name of a stage to the number of finished rows so far.
        stream: stream to print to; standard error by default.
    """
    stream = stream or sys.stderr
    show = _show_bars if stream.isatty() and _fits(totals, TerminalConsole(stream).width) else _print_lines
    with in_background(lambda stop: show(totals, done, stop, stream), "progress"):
        yield


def _fits(totals: Mapping[str, int], width: int) -> bool:
    """Return whether a terminal of `width` columns shows bars without cutting off a count or a time."""
    counts = max((len(f" {total}/{total} ") for total in totals.values()), default=0)
    return max(map(len, totals), default=0) + 1 + SHORTEST_BAR + counts + TIMES <= width


def _show_bars(totals: Mapping[str, int], done: Count, stop: threading.Event, stream: TextIO) -> None:
    whole = Column(no_wrap=True)  # on a narrow terminal, only the bar becomes shorter
    columns = (
        TextColumn("{task.description:12}", table_column=whole),
        BarColumn(),
        MofNCompleteColumn(table_column=whole),
        TimeElapsedColumn(table_column=whole),
        TimeRemainingColumn(table_column=whole),
    )
    with Progress(*columns, console=TerminalConsole(stream)) as progress:
        bars = {stage: progress.add_task(stage, total=total) for stage, total in totals.items()}
        while True:
            ended = stop.wait(REFRESH_SECONDS)
            for stage, bar in bars.items():
                rows = done(stage)
                progress.update(bar, completed=min(rows.computed + rows.reused, totals[stage]))
            if ended:
                return


def _print_lines(totals: Mapping[str, int], done: Count, stop: threading.Event, stream: TextIO) -> None:
    console, now = TerminalConsole(stream, soft_wrap=True), time.monotonic()
    stages = {stage: StageProgress(stage, total, now) for stage, total in totals.items()}
    while True:
        ended = stop.wait(LINE_SECONDS)
        for stage, progress in stages.items():
            before = progress.count
            progress.update(done(stage), time.monotonic())
            if progress.count != before:
                console.print(f"{stage}: {progress.text}")
        if ended:
            return
