"""What workers report to the process that started them: computed rows and log records."""

import logging
import threading
from collections import deque
from dataclasses import dataclass

from typing_extensions import override

MOST_RECORDS = 1000  # log records that a worker keeps until the calling process fetches them


@dataclass(frozen=True)
class Report:
    """What a worker has done so far.

    Attributes:
        number: number of the report; a newer report of the same worker has a higher number.
        rows: stage -> number of rows that the running call has computed.
        log: level, logger and text of each log record since the last report.
    """

    number: int
    rows: dict[str, int]
    log: tuple[tuple[int, str, str], ...]

    def repeat_log(self, node: str) -> None:
        """Log in this process what the worker has logged since its last report.

        Args:
            node: name of the worker's machine, which precedes each text.
        """
        for level, name, text in self.log:
            logging.getLogger(name).log(level, "%s: %s", node, text)


class Records(logging.Handler):
    """Keeps the newest log records until they are taken."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: deque[tuple[int, str, str]] = deque(maxlen=MOST_RECORDS)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append((record.levelno, record.name, record.getMessage()))

    def take(self) -> tuple[tuple[int, str, str], ...]:
        """Return the kept records, and forget them."""
        self.acquire()  # `emit` runs with this lock, and calls and reports take records in different threads
        try:
            kept = tuple(self._kept)
            self._kept.clear()
            return kept
        finally:
            self.release()


class RowCounts:
    """For each stage, the number of rows that the calls which run now have computed so far; see `Counters`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[int, dict[str, int]]] = {}  # worker -> number and rows of its newest report

    def add(self, worker: str, report: Report) -> None:
        """Record a report.

        Args:
            worker: name of the worker process; a process that replaces another has another name.
            report: its newest or an older report; reports may arrive out of order.
        """
        with self._lock:
            number, _ = self._newest.get(worker, (-1, {}))
            if report.number > number:
                self._newest[worker] = (report.number, report.rows)

    def end_call(self, worker: str) -> None:
        """Forget the rows of a worker whose call has ended, or that has died."""
        with self._lock:
            number, _ = self._newest.get(worker, (-1, {}))
            self._newest[worker] = (number, {})

    def count(self, stage: str) -> int:
        """Return how many rows of a stage the running calls of all workers together have computed so far."""
        with self._lock:
            return sum(rows.get(stage, 0) for _, rows in self._newest.values())
