"""Work in a background thread while a block of code runs."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run work in a thread while the block runs; at the end of the block, tell it to stop and wait for it.

    Args:
        work: function to run. Its argument is the event that tells it to stop. It runs in a copy of this thread's
            context, so it sees the same Prefect flow run and server.
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
