"""Interruptions of the whole program: Ctrl-C (SIGINT), and SIGTERM, which the CLI and Prefect turn into exceptions."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

INTERRUPTED = 130  # the exit code

logger = logging.getLogger(__name__)


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread during the block, and for good in the threads and processes that it starts.

    A terminal sends Ctrl-C to all processes of a command. Workers must leave it to their parent, which ends them: one
    that is still importing would print a traceback. A process inherits the signal mask, so it is covered from its
    first instruction.
    """
    resource_tracker.ensure_running()  # unblocks SIGINT when it starts its own process, so it must run already
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interruption_first() -> Iterator[None]:
    """Raise an interruption of the block again if an error, which happened while the block was left, has replaced it.

    Closing pools, files and connections in the middle of work may fail. The program must still end as interrupted.
    """
    try:
        yield
    except Exception as error:
        interruption = interruption_behind(error)
        if interruption is None:
            raise
        logger.warning("while the run was being stopped: %s: %s", type(error).__name__, error)
        raise interruption from error


def interruption_behind(error: BaseException) -> BaseException | None:
    """Return the interruption that is an exception, or that was being handled when the exception was raised."""
    found: BaseException | None = error
    while found is not None and not _is_interruption(found):
        found = found.__context__
    return found


def _is_interruption(error: BaseException) -> bool:
    if isinstance(error, SystemExit):
        return error.code == INTERRUPTED
    # Prefect's exception for SIGTERM goes by its name, because commands without a run do not import Prefect.
    return isinstance(error, KeyboardInterrupt) or type(error).__qualname__ == "TerminationSignal"
