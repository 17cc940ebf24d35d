"""The log that this process and its workers write to standard error."""

import logging

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
