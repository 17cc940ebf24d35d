"""Run a function in a background thread while a block of code runs."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
