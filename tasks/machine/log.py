"""What the tasks log goes to standard error, of this process and of its workers."""

import logging

LOGGER = "clipes"
logging.getLogger(LOGGER).setLevel(logging.INFO)  # also where Prefect shows it, as a worker of prefect.yaml does


def show_log(level: int = logging.INFO) -> None:
    """Show what is logged from a level on, beside Prefect's own logging."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("clipes: %(message)s"))
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.addHandler(handler)


def shown_level() -> int:
    """From which level on this process shows what is logged; its workers do as it does."""
    return logging.getLogger(LOGGER).getEffectiveLevel()
