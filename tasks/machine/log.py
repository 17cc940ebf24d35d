"""The log that this process and its workers write to standard error."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from typing_extensions import override

from clipes.tasks.machine.terminal import printable

LOGGER = "clipes"
# The level is set on import, because the flow runs of a deployment never call show_log. Prefect shows their log.
logging.getLogger(LOGGER).setLevel(logging.INFO)


class _PrintableFormatter(logging.Formatter):
    """A formatter whose result contains no control characters."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def show_log(level: int = logging.INFO) -> None:
    """Write log records of at least this level to standard error, in addition to Prefect's own logging.

    If a record cannot be written or sent, for example because nobody reads standard error, it is lost without a trace.
    """
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("clipes: %(message)s"))
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.addHandler(handler)


def log_level() -> int:
    """Return the lowest level that this process logs, so that its workers can use the same level."""
    return logging.getLogger(LOGGER).getEffectiveLevel()


class _Collector(logging.Handler):
    """A handler that keeps the messages of its records in a list."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record.getMessage())


@contextmanager
def each_message_once(*loggers: str) -> Iterator[None]:
    """Write each message in the block to standard error only once.

    Args:
        loggers: names of the loggers below `clipes` to which this applies, also to those below them; none for all.
    """
    seen, places = set[str](), tuple(f"{LOGGER}.{name}." for name in loggers) or ("",)

    def is_new(record: logging.LogRecord) -> bool:
        if not f"{record.name}.".startswith(places):
            return True
        message, known = record.getMessage(), len(seen)
        seen.add(message)
        return len(seen) > known

    with _filtered(is_new):
        yield


@contextmanager
def _filtered(accepts: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Write only those records of the block to standard error that the function accepts."""
    handlers = list(logging.getLogger(LOGGER).handlers)
    for handler in handlers:
        handler.addFilter(accepts)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(accepts)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list to which each warning and error in the block is added. They are not written to standard error."""
    found: list[str] = []

    def is_minor(record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING

    logger, collector = logging.getLogger(LOGGER), _Collector(found)
    with _filtered(is_minor):
        logger.addHandler(collector)
        try:
            yield found
        finally:
            logger.removeHandler(collector)
