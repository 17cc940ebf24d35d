"""The Prefect task of a stage's shards, and its threads."""

import threading
import time

import pytest
from prefect import flow, task
from prefect.states import Cancelled

from clipes.tasks.execution.prefect_task import TaskRunThreads, named_task
from clipes_core.config.run import parse_config


@pytest.mark.parametrize(("retries", "delays"), [(0, []), (3, [2, 4, 8])])
def test_a_task_has_the_name_of_its_stage_and_the_retries_of_the_config(retries, delays):
    config = parse_config({"name": "tiny", "dataset": {"root": "/data"}, "execution": {"retries": retries}})
    named = named_task("cams", config)
    assert (named.name, named.retries, named.retry_delay_seconds) == ("cams", retries, delays)


def test_a_task_run_that_has_begun_when_the_threads_are_closed_ends_by_its_own_state(server):
    begun = threading.Event()

    def wait_until_closed(*_):
        begun.set()
        while not executor._shutdown:
            time.sleep(0.01)

    @task(on_running=[wait_until_closed])
    def stopped():
        return Cancelled(name="NotRun")

    @task
    def queued():
        ran.append(True)

    ran = []
    threads = TaskRunThreads(max_workers=1)

    @flow
    def closing():
        nonlocal executor
        with threads:
            executor = threads._executor
            first = threads.submit(stopped, {})
            second = threads.submit(queued, {})
            begun.wait()
        return first.wrapped_future.result().name, second.wrapped_future.cancelled()

    executor = None
    assert closing() == ("NotRun", True)
    assert not ran
