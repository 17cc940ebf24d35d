import threading
from contextvars import ContextVar

import pytest

from clipes.tasks.machine.background import beside

HERE = ContextVar("HERE", default="nowhere")


def test_work_goes_on_until_the_block_ends_and_is_waited_for():
    begun, said = threading.Event(), []

    def work(stop):
        begun.set()
        stop.wait()
        said.append((threading.current_thread().name, HERE.get()))

    HERE.set("there")
    with beside(work, "worker"):
        assert begun.wait(60)
        assert said == []
    assert said == [("worker", "there")]


def test_an_error_of_the_block_ends_the_work_too():
    ended = threading.Event()

    def work(stop):
        stop.wait()
        ended.set()

    with pytest.raises(ValueError, match="of the block"), beside(work, "worker"):
        raise ValueError("of the block")
    assert ended.is_set()
