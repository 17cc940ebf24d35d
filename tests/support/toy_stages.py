"""Stages for tests of runners. They are in a module, so that worker processes can import them."""

import os
import time
from pathlib import Path

from clipes.tasks.stages.texts import TextRow, Texts
from clipes_core.errors import StageError


class Failing(Texts):
    """Fails in every shard."""

    def rows(self, job):
        raise StageError("the toy stage cannot work")


class RecordsProcess(Texts):
    """Makes one row, whose name is the id of the process that makes it."""

    def rows(self, job):
        yield TextRow(class_id=0, name=str(os.getpid()), sentences=(), feature=())


class Hangs(Texts):
    """Creates the file `<store>-hangs` to show that it started, and then sleeps for five minutes."""

    def rows(self, job):
        Path(f"{job.store.uri}-hangs").touch()
        time.sleep(300)
        yield from ()


FAILING, RECORDS_PROCESS, HANGS = Failing(), RecordsProcess(), Hangs()
