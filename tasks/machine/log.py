"""The log that this process and its workers write to standard error."""

import logging

LOGGER = "clipes"
# Set here because the process of a deployment's flow run never calls show_log: there, Prefect shows the log.
logging.getLogger(LOGGER).setLevel(logging.INFO)


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
