"""Forked processes, and locks that a thread holds while a process is forked."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

LONGEST_S = 60.0  # a forked process that hangs is killed after this time


def exit_code_of_fork(work: Callable[[], object]) -> int | None:
    """Run a function in a forked process, and return the exit code: 0 if the function returns, 1 if it raises."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(LONGEST_S)
    process.kill()
    process.join()
    return process.exitcode


@contextmanager
def held_by_a_thread(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Let another thread hold a lock during the block."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()
