"""Stages that no pipeline has, for tests of who makes them; worker processes import this module."""

import os
import time
from pathlib import Path

from clipes.tasks.stages.texts import TextRow, Texts
from clipes_core.errors import StageError


class Failing(Texts):
    """Cannot work."""

    def rows(self, job):
        raise StageError("the toy stage cannot work")


class NotesItsProcess(Texts):
    """Has a row that names the process that makes it."""

    def rows(self, job):
        yield TextRow(class_id=0, name=str(os.getpid()), sentences=(), feature=())


class StandsStill(Texts):
    """Leaves a file beside the store, and comes to no end."""

    def rows(self, job):
        Path(f"{job.store.uri}-stands-still").touch()
        time.sleep(300)
        yield from ()


FAILING, NOTES_ITS_PROCESS, STANDS_STILL = Failing(), NotesItsProcess(), StandsStill()
