import threading
import time

from prefect import flow, task
from prefect.states import Cancelled

from clipes.tasks.execution.task_run_threads import TaskRunThreads


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
