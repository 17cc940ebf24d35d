"""The log that this process and its workers write to standard error."""

import logging

LOGGER = "clipes"
# The level is set on import, because the flow runs of a deployment never call show_log. Prefect shows their log.
logging.getLogger(LOGGER).setLevel(logging.INFO)


def show_log(level: int = logging.INFO) -> None:
    """Write log records of at least this level to standard error, in addition to Prefect's own logging.

    If a record cannot be written or sent, for example because nobody reads standard error, it is lost without a trace.
    """
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("clipes: %(message)s"))
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.addHandler(handler)


def log_level() -> int:
    """Return the lowest level that this process logs, so that its workers can use the same level."""
    return logging.getLogger(LOGGER).getEffectiveLevel()
