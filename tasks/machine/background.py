"""Work that goes on beside other work, in a thread, until that other work is done."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Do work in a thread of its own while the block runs; the block's end waits for it.

    Args:
        work: is given the event that is set when it is to end; it is in the context of this thread (flow run, server).
        name: of the thread.
    """
    stop, context = threading.Event(), contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work, stop), daemon=True, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
