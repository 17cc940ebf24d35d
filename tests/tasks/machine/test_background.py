import threading
import time
from contextvars import ContextVar

import pytest

from clipes.tasks.machine.background import IN_FLIGHT, Once, in_background, map_in_threads

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


def test_results_of_threads_arrive_in_order_while_many_calls_wait():
    together = threading.Barrier(IN_FLIGHT, timeout=60)

    def call(item):
        together.wait()  # passes only if IN_FLIGHT calls wait at the same time
        return -item

    assert list(map_in_threads(call, range(2 * IN_FLIGHT))) == [-item for item in range(2 * IN_FLIGHT)]


def test_no_more_calls_run_ahead_than_are_in_flight():
    called = []
    results = map_in_threads(called.append, range(10 * IN_FLIGHT))
    next(results)
    results.close()
    assert len(called) <= IN_FLIGHT


def test_the_first_error_in_the_order_of_the_items_is_raised_after_the_results_before_it():
    second_failed = threading.Event()

    def call(item):
        if item == 3:
            second_failed.set()
            raise KeyError(item)
        if item == 2:
            assert second_failed.wait(60)
            raise ValueError(item)
        return item

    results = map_in_threads(call, range(1000))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)


def test_threads_have_the_context_of_the_caller():
    CALLER.set("this test")
    assert list(map_in_threads(lambda _: CALLER.get(), range(3))) == ["this test"] * 3


def test_a_function_is_called_once_by_many_threads():
    calls = []

    def slow():
        time.sleep(0.05)
        calls.append(1)

    once = Once(slow)
    seen = list(map_in_threads(lambda _: (once(), len(calls))[1], range(8)))
    assert seen == [1] * 8


def test_a_function_that_has_failed_is_called_again():
    results = iter([KeyError(), None])

    def fail_first():
        if (result := next(results)) is not None:
            raise result

    once = Once(fail_first)
    with pytest.raises(KeyError):
        once()
    once()
    once()
    assert next(results, "empty") == "empty"


def test_a_single_item_is_computed_in_the_calling_thread():
    assert list(map_in_threads(lambda _: threading.current_thread(), ["item"])) == [threading.current_thread()]
    assert list(map_in_threads(str, [])) == []
