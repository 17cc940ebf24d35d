"""The log that this process and its workers write to standard error."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True)
class LogSettings:
    """What a process tells its workers about its log.

    Attributes:
        level: lowest level that is logged.
        written: messages that are not written again.
    """

    level: int = logging.INFO
    written: frozenset[str] = frozenset()


class _OnceFilter(logging.Filter):
    """A filter that refuses messages that were written before.

    Args:
        written: messages that were written before.
        loggers: names of the loggers below `clipes` whose messages are remembered.
    """

    def __init__(self, written: Iterable[str], loggers: Iterable[str] = ()) -> None:
        super().__init__()
        self.written = set(written)
        self._places = tuple(f"{LOGGER}.{name}." for name in loggers)

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in self.written:
            return False
        if f"{record.name}.".startswith(self._places):
            self.written.add(message)
        return True


def show_log(settings: LogSettings = LogSettings()) -> None:
    """Write log records to standard error, in addition to Prefect's own logging.

    If a record cannot be written or sent, for example because nobody reads standard error, it is lost without a trace.
    """
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("clipes: %(message)s"))
    if settings.written:
        handler.addFilter(_OnceFilter(settings.written))
    logger = logging.getLogger(LOGGER)
    logger.setLevel(settings.level)
    logger.addHandler(handler)


def log_settings() -> LogSettings:
    """Return the settings of this process's log, so that its workers can use the same."""
    logger = logging.getLogger(LOGGER)
    filters = [each for handler in logger.handlers for each in handler.filters if isinstance(each, _OnceFilter)]
    return LogSettings(logger.getEffectiveLevel(), frozenset(text for each in filters for text in each.written))


class _Collector(logging.Handler):
    """A handler that keeps the messages of its records in a list."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record.getMessage())


@contextmanager
def without_repetitions(*loggers: str) -> Iterator[None]:
    """Write each message of some loggers to standard error only once in the block, also if a worker logs it again.

    A message that `collect_warnings` collects counts as written, because its caller shows it. Workers know the messages
    that this process has written before they start.

    Args:
        loggers: names of the loggers below `clipes`; those below them are included.
    """
    once, handlers = _OnceFilter((), loggers), list(logging.getLogger(LOGGER).handlers)
    for handler in handlers:
        handler.addFilter(once)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(once)


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Yield a list to which each warning and error in the block is added. They are not written to standard error."""
    found: list[str] = []

    def is_minor(record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING

    logger, collector = logging.getLogger(LOGGER), _Collector(found)
    others = list(logger.handlers)
    for handler in others:
        handler.addFilter(is_minor)
    logger.addHandler(collector)
    try:
        yield found
    finally:
        logger.removeHandler(collector)
        for handler in others:
            handler.removeFilter(is_minor)
