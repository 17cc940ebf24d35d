import threading
from contextvars import ContextVar

import pytest

from clipes.tasks.machine.background import in_background

CALLER = ContextVar("CALLER", default="nobody")


def test_work_runs_until_the_block_ends_with_the_context_of_the_caller():
    started, seen = threading.Event(), []

    def work(stop):
        started.set()
        stop.wait()
        seen.append((threading.current_thread().name, CALLER.get()))

    CALLER.set("this test")
    with in_background(work, "worker"):
        assert started.wait(60)
        assert seen == []
    assert seen == [("worker", "this test")]


def test_an_error_in_the_block_also_stops_the_work():
    stopped = threading.Event()

    def work(stop):
        stop.wait()
        stopped.set()

    with pytest.raises(ValueError, match="of the block"), in_background(work, "worker"):
        raise ValueError("of the block")
    assert stopped.is_set()
