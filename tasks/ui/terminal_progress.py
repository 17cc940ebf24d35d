"""The progress of a run: bars if the output is a terminal that is wide enough, plain lines otherwise."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.terminal import TerminalConsole, printable
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.ui.durations import rough_duration

REFRESH_SECONDS = 0.5
LINE_SECONDS, MOST_LINE_SECONDS = 10.0, 600.0  # time between lines: at the start, and at most
LINES_SO_FAR = 20  # the time between lines is the time since the start divided by this number
SHORTEST_BAR = 10  # [columns of the terminal]
WIDEST_TEXTS = len(" 1234.5/s 8.3 min left 123456 failed")


@dataclass(frozen=True)
class Done:
    """The number of finished rows of a stage.

    Attributes:
        computed: number of rows computed by this run. It falls if a worker dies before its shard is finished. In a
            training, iterations count as rows. If the training has resumed from a checkpoint, the iterations before the
            checkpoint count too.
        reused: number of cached or copied rows.
        failed: number of photos that failed for a permanent cause; the other two numbers count them too.
    """

    computed: int
    reused: int = 0
    failed: int = 0


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
        failed: number of photos that failed.
    """

    def __init__(self, stage: str, total: int, now: float) -> None:
        self._total, self._unit = total, STAGES[stage].kind.unit
        self._restarts = STAGES[stage].kind.of_training  # all other stages continue with their other shards
        self.count, self.failed, self._computed, self._now = 0, 0, 0, now
        self._start = self._first = (now, 0)

    def update(self, done: Done, now: float) -> None:
        """Record the number of finished rows at the time `now` [s]."""
        self.failed = done.failed
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
        """A text such as "120 of 600 iterations after 35 s, 3.4 iterations/s, about 2.4 min to go, 2 failed"."""
        seconds, unit = self._now - self._start[0], f" {self._unit}" if self._unit else ""
        rate, left = self.rate, self.seconds_left
        speed = "" if rate is None or left is None else f", {rate:.1f} {self._unit or 'rows'}/s"
        to_go = "" if left is None else f", about {rough_duration(max(left, 1))} to go"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.count} of {self._total}{unit} after {seconds:.0f} s{speed}{to_go}{failed}"

    @property
    def rate(self) -> float | None:
        """Number of rows computed per second since the first of them; None while it is unknown."""
        since, before = self._first
        if before == 0 or self._computed <= before:
            return None
        return (self._computed - before) / (self._now - since)

    @property
    def seconds_left(self) -> float | None:
        """The estimate of the remaining time [s]; None while it is unknown, and at the end."""
        rate = self.rate
        return None if rate is None or self.count == self._total else (self._total - self.count) / rate


@contextmanager
def show_progress(run: str, totals: Mapping[str, int], done: Count, stream: TextIO | None = None) -> Iterator[None]:
    """Show the progress of each stage while the block runs.

    Args:
        run: name of the run.
        totals: name of a stage -> number of rows that the stage will have. Stages with 0 rows are not shown.
        done: function from the name of a stage to the number of finished rows so far.
        stream: stream to print to; standard error by default.
    """
    stream = stream or sys.stderr
    totals = {stage: total for stage, total in totals.items() if total}
    show = _show_bars if stream.isatty() and _fits(totals, TerminalConsole(stream).width) else _print_lines
    with in_background(lambda stop: show(run, totals, done, stop, stream), "progress"):
        yield


def _fits(totals: Mapping[str, int], width: int) -> bool:
    """Return whether a terminal of `width` columns shows bars without cutting off a text next to them."""
    counts = max((len(f" {total}/{total} ") for total in totals.values()), default=0)
    return max(map(len, totals), default=0) + 1 + SHORTEST_BAR + counts + WIDEST_TEXTS <= width


class _Bars(Progress):
    """A bar per stage, below the name of the run."""

    def __init__(self, run: str, stream: TextIO) -> None:
        self._run = run
        whole = Column(no_wrap=True)  # on a narrow terminal, only the bar becomes shorter
        super().__init__(
            TextColumn("{task.description}", table_column=whole),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=whole),
            TextColumn("{task.fields[rate]}", justify="right", table_column=whole),
            TextColumn("{task.fields[left]}", justify="right", table_column=whole),
            TextColumn("{task.fields[failed]}", style="red", table_column=whole),
            console=TerminalConsole(stream),
        )

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        yield Text(printable(self._run), style="bold")
        yield from super().get_renderables()


def _show_bars(run: str, totals: Mapping[str, int], done: Count, stop: threading.Event, stream: TextIO) -> None:
    now = time.monotonic()
    stages = {stage: StageProgress(stage, total, now) for stage, total in totals.items()}
    with _Bars(run, stream) as bars:
        tasks = {stage: bars.add_task(stage, total=totals[stage], **_texts(stages[stage])) for stage in stages}
        while True:
            ended = stop.wait(REFRESH_SECONDS)
            for stage, progress in stages.items():
                progress.update(done(stage), time.monotonic())
                bars.update(tasks[stage], completed=progress.count, **_texts(progress))
            if ended:
                return


def _texts(progress: StageProgress) -> dict[str, Any]:
    rate, left = progress.rate, progress.seconds_left
    return {
        "rate": "" if rate is None else f"{rate:.1f}/s",
        "left": "" if left is None else f"{rough_duration(max(left, 1))} left",
        "failed": f"{progress.failed} failed" if progress.failed else "",
    }


def _print_lines(run: str, totals: Mapping[str, int], done: Count, stop: threading.Event, stream: TextIO) -> None:
    console, start = TerminalConsole(stream, soft_wrap=True), time.monotonic()
    stages = {stage: StageProgress(stage, total, start) for stage, total in totals.items()}
    while True:
        ended = stop.wait(seconds_between_lines(time.monotonic() - start))
        for stage, progress in stages.items():
            before = progress.count
            progress.update(done(stage), time.monotonic())
            if progress.count != before:
                console.print(f"{run}: {stage}: {progress.text}")
        if ended:
            return


def seconds_between_lines(elapsed: float) -> float:
    """Return how long to wait for the next lines [s], `elapsed` seconds after the start: a long run prints fewer."""
    return min(max(LINE_SECONDS, elapsed / LINES_SO_FAR), MOST_LINE_SECONDS)
