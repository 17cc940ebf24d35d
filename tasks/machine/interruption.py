"""Interruptions of the whole program by Ctrl-C (SIGINT)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


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
