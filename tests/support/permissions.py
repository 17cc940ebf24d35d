"""Real refusals of the file system, also where the tests run as root, whom it refuses nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """The block without root's rights: permission bits count, and those of `folder` and above let one pass.

    As root the process takes another effective user; everybody else is refused already.
    """
    if os.geteuid() != 0:
        yield
        return
    for above in (folder, *folder.parents):
        mode = above.stat().st_mode
        if mode & 0o011 != 0o011:
            above.chmod(mode | 0o011)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
