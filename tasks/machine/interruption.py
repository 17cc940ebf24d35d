"""Interruptions of the whole program: SIGINT (Ctrl-C) and SIGTERM, which the CLI and Prefect turn into exceptions."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker, util
from os import _exit as exit_at_once  # the function itself, because a guard may replace os._exit for a while

INTERRUPTED = 130  # exit code of an interrupted command
REPEAT_SECONDS = 0.05  # longer than Python takes to leave `sys.unraisablehook`
SAME_SIGNAL_SECONDS = 1.0  # `uv run`, for example, repeats a signal that the terminal has already sent
STDERR = 2

logger = logging.getLogger(__name__)


class InterruptOnce:
    """A signal handler that raises KeyboardInterrupt at the first signal, and ends the process at a later signal.

    It never raises a second KeyboardInterrupt, because this exception could interrupt the cleanup, leave a thread
    waiting for a worker forever, or change the exit code. It ignores a signal that arrives within `SAME_SIGNAL_SECONDS`
    of the first.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    @property
    def has_raised(self) -> bool:
        """Return whether a signal has raised KeyboardInterrupt."""
        return self._first is not None

    def __call__(self, *_: object) -> None:
        """Raise KeyboardInterrupt, end the process, or ignore the signal."""
        if self._first is None:
            self._first = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self._first > SAME_SIGNAL_SECONDS:
            _end_at_once()

    def repeat_if_ignored(self, ignored: "sys.UnraisableHookArgs") -> None:
        """Send the signal again if Python ignores the KeyboardInterrupt; `sys.unraisablehook` for other exceptions.

        Python ignores an exception that is raised in `__del__` or in a callback of the garbage collector. A signal that
        arrives there would be lost, and the command would run to its end.
        """
        if not isinstance(ignored.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(ignored)
            return
        self._first = None
        main = threading.main_thread().ident
        if main is not None:
            threading.Timer(REPEAT_SECONDS, signal.pthread_kill, (main, signal.SIGTERM)).start()


def handle_signals() -> None:
    """Let the first SIGINT or SIGTERM raise KeyboardInterrupt, and let a later one end the process at once."""
    handler = InterruptOnce()
    sys.unraisablehook = handler.repeat_if_ignored
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a background job ignores SIGINT
        signal.signal(signal.SIGINT, handler)


def _end_at_once() -> None:
    """End this process as if it were killed.

    The workers of this process notice its end, and end too. If no other process uses the Prefect server, the server
    also ends.
    """
    try:
        os.write(STDERR, b"clipes: ended at once; finished work is kept\n")
    finally:  # even if the write fails because nobody reads standard error any more
        exit_at_once(INTERRUPTED)


def end_without_exit_handlers(code: int) -> None:
    """End this process with an exit code after its output is written, but without the handlers that run at exit.

    The semaphores of multiprocessing are removed first, because its resource tracker warns of those that are left.
    """
    with suppress(Exception):
        util._run_finalizers(0)  # type: ignore[attr-defined] # multiprocessing has no public function for this
    with suppress(OSError, ValueError):  # even if nobody reads the output any more
        sys.stdout.flush()
        sys.stderr.flush()
    exit_at_once(code)


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread while the `with` statement runs, and in all threads and processes that it starts.

    On Ctrl-C, a terminal sends SIGINT to all processes of a command. Workers must ignore it and let their parent end
    them, because a worker that is still importing modules would print a traceback. A new process inherits the signal
    mask of the thread that starts it, so SIGINT is blocked in a worker from its first instruction.
    """
    resource_tracker.ensure_running()  # started before the block, because starting the tracker unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interruption_first() -> Iterator[None]:
    """If an error during the cleanup has replaced an interruption, raise the interruption again.

    After an interruption, closing pools, files and connections may fail, because they were in use. The program must
    nevertheless end with the interruption instead of this error. The same holds if a library has turned the
    interruption into an error that does not refer to it, as pydantic does in a serializer.
    """
    try:
        yield
    except Exception as error:
        interruption = interruption_behind(error) or _lost_interruption()
        if interruption is None:
            raise
        logger.warning("an error occurred while the run was being stopped: %s: %s", type(error).__name__, error)
        raise interruption from error


def interruption_behind(error: BaseException) -> BaseException | None:
    """Return the exception itself if it is an interruption, and otherwise the interruption that it has replaced.

    Returns:
        The first interruption among the exception, its `__context__`, the `__context__` of that exception, and so on;
        None if none of them is an interruption.
    """
    found: BaseException | None = error
    while found is not None and not _is_interruption(found):
        found = found.__context__
    return found


def was_interrupted() -> bool:
    """Return whether this process has received a signal that raised KeyboardInterrupt; see `handle_signals`."""
    handlers = (signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
    return any(isinstance(handler, InterruptOnce) and handler.has_raised for handler in handlers)


def _lost_interruption() -> BaseException | None:
    """Return a new KeyboardInterrupt if this process has received a signal that raised one; None otherwise."""
    return KeyboardInterrupt() if was_interrupted() else None


def _is_interruption(error: BaseException) -> bool:
    # Prefect's exception for SIGTERM is recognised by its name, because some commands do not import Prefect.
    return isinstance(error, KeyboardInterrupt) or type(error).__qualname__ == "TerminationSignal"
