"""The log of the tasks on standard error, in this process and in its workers."""

import logging

LOGGER = "clipes"
logging.getLogger(LOGGER).setLevel(logging.INFO)  # also if Prefect shows the log, as under a worker of prefect.yaml


def show_log(level: int = logging.INFO) -> None:
    """Write records of at least this level to standard error, in addition to Prefect's own logging."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("clipes: %(message)s"))
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.addHandler(handler)


def log_level() -> int:
    """Return the lowest level that this process logs, so that its workers can use the same one."""
    return logging.getLogger(LOGGER).getEffectiveLevel()
