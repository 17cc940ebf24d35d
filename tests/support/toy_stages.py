"""Stages that no pipeline has, for tests of who makes them; worker processes import this module."""

import os
import time
from dataclasses import replace
from pathlib import Path

from clipes.tasks.stages.texts import TEXTS, TextRow
from clipes_core.errors import StageError


def _fail(_job):
    raise StageError("the toy stage cannot work")


def _note_process(_job):
    yield TextRow(class_id=0, name=str(os.getpid()), sentences=(), feature=())


def _stand_still(job):
    Path(f"{job.store.uri}-stands-still").touch()
    time.sleep(300)
    yield from ()


FAILING = replace(TEXTS, rows=_fail)
NOTES_ITS_PROCESS = replace(TEXTS, rows=_note_process)
STANDS_STILL = replace(TEXTS, rows=_stand_still)
