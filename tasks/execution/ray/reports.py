"""What workers report to the process that started them: computed rows and log records."""

import logging
import threading
from collections import defaultdict, deque
from dataclasses import dataclass

from typing_extensions import override

MOST_RECORDS = 1000  # log records that a worker keeps until the calling process fetches them


@dataclass(frozen=True)
class Report:
    """What a worker has done so far.

    Attributes:
        rows: stage -> number of computed rows.
        log: level, logger and text of each log record since the last report.
    """

    rows: dict[str, int]
    log: tuple[tuple[int, str, str], ...]


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
    """For each stage, the number of rows that all workers have computed, including those that have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, dict[str, int]] = defaultdict(dict)  # stage -> worker -> rows

    def add(self, worker: str, node: str, report: Report) -> None:
        """Record a report, and log what the worker has logged.

        Args:
            worker: name of the worker process; a process that replaces another has another name.
            node: name of the worker's machine.
            report: its newest or an older report; reports may arrive out of order.
        """
        with self._lock:
            for stage, rows in report.rows.items():
                self._rows[stage][worker] = max(rows, self._rows[stage].get(worker, 0))
        for level, name, text in report.log:
            logging.getLogger(name).log(level, "%s: %s", node, text)

    def count(self, stage: str) -> int:
        """Return how many rows of a stage all workers together have computed so far."""
        with self._lock:
            return sum(self._rows[stage].values())

    def reset(self, stage: str) -> None:
        """Reset a stage's count to zero. Call only while no worker that exists can report rows of the stage."""
        with self._lock:
            self._rows[stage].clear()
