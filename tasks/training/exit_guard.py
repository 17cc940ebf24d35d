"""Keep the code of the user, such as an MMSegmentation config, from ending the process in which it runs."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

_LOCK = threading.RLock()  # one thread at a time replaces os._exit


@contextmanager
def refuse_exit() -> Iterator[None]:
    """Make `os._exit` raise SystemExit during the block. Otherwise a config could end the command without a message.

    Other threads and forked processes can still end themselves with `os._exit`.
    """
    with _LOCK:
        end, own = os._exit, _process_and_thread()

        def raise_instead(status: int) -> NoReturn:
            if _process_and_thread() == own:
                raise SystemExit(f"os._exit({status})")
            end(status)

        os._exit = raise_instead
        try:
            yield
        finally:
            os._exit = end


def _process_and_thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()
