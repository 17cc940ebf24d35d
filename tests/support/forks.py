"""Forked processes, and locks that a thread holds while a process is forked."""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

LONGEST_S = 60.0  # a forked process that hangs is killed after this time


def exit_code_of_fork(work: Callable[[], object]) -> int | None:
    """Run a function in a forked process, and return the exit code: 0 if the function returns, 1 if it raises.

    The process ends without exit handlers. Those of Prefect fail in a process that was forked after a flow run.
    """

    def run() -> None:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
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
