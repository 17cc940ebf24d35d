"""Real permission errors of the file system, even if the tests run as root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Run the block without root's privileges, so that permission bits count.

    If the tests run as root, this switches the effective user, and makes `folder` and its parents accessible for that
    user.
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
