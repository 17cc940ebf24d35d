"""Run functions in threads: one in the background of a block of code, or many that wait for the network."""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

IN_FLIGHT = 32  # calls of `map_in_threads` that wait for the network at the same time

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def in_background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run a function in a thread while the block runs. After the block, ask the function to stop, and wait for its end.

    Args:
        work: function to run. Its argument is an event, which is set when the function must stop. The function runs in
            a copy of the calling thread's context variables, so it sees the same Prefect flow run and server.
        name: name of the thread.
    """
    stop, context = threading.Event(), contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work, stop), daemon=True, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the result of a function for each item, in the order of the items; up to IN_FLIGHT calls run together.

    Use this for calls that mostly wait for the network. Results and errors arrive as with `map`: the first error in the
    order of the items is raised when its result is due, and items that have not been begun by then are left out. The
    calls run in copies of the calling thread's context variables. A single item needs no thread.
    """
    items = iter(items)
    first = list(islice(items, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="look up") as threads:
        try:
            for item in chain(first, items):
                ahead.append(threads.submit(contextvars.copy_context().run, function, item))
                if len(ahead) == IN_FLIGHT:  # which limits the number of results that wait for the caller
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


class Once:
    """Calls a function the first time that it is called itself; threads that call it meanwhile wait.

    If the function raises an error, the next call calls it again.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function, self._lock, self._done = function, threading.Lock(), False

    def __call__(self) -> None:
        """Call the function unless it has been called."""
        with self._lock:
            if not self._done:
                self._function()
                self._done = True
