"""Pools of workers on real clusters."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import ray
from support.ray_clusters import ray_cluster

from clipes.tasks.execution.ray import pool as module
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import WorkerRequest, connected
from clipes.tasks.execution.ray.pool import RayPool
from clipes.tasks.execution.ray.reports import RowCounts
from clipes_core.errors import StoppedError

REQUEST = WorkerRequest("cpu", 1, 0, 1, 2, networks=False, fixed=True)

pytestmark = pytest.mark.slow


def test_a_pool_without_any_worker_gets_the_room_of_an_idle_worker(photos, tmp_path):
    """Without this, a run ends after a lost machine if workers of one kind have all machines that are left."""
    with ray_cluster(num_cpus=2), connected("auto"), ThreadPoolExecutor(2) as threads:
        hosts, counters = Hosts(photos.config(store=str(tmp_path / "store")), probes=False), RowCounts()
        greedy = RayPool(REQUEST, hosts, counters, wait_s=60)
        greedy.wait_until_started(30)
        poor = RayPool(replace(REQUEST, count=1), hosts, counters, wait_s=60)
        greedy.rivals, poor.rivals = [poor], [greedy]
        try:
            assert threads.submit(answer, poor).result() == 3
            assert not poor.starves
            assert threads.submit(answer, greedy).result() == 3
        finally:
            for pool in (greedy, poor):
                pool.close()


def test_each_stopped_call_raises_a_stopped_error_even_if_its_worker_ends_while_others_are_stopped(
    photos, tmp_path, monkeypatch
):
    errors, started = queue.Queue(), threading.Barrier(3)

    @contextmanager
    def translate_and_record(*args):
        try:
            with translate(*args):
                yield
        except Exception as exc:
            errors.put(exc)
            raise

    def kill_and_wait(actor):
        kill(actor)
        if threading.current_thread() is threading.main_thread():
            raised.append(errors.get(timeout=120))

    def sleep_in_worker(pool):
        with pool.worker(timeout_s=None) as start:
            call = start(time.sleep, 3600)
            started.wait(120)
            call.result()

    translate, kill, raised = module.translate_ray_errors, ray.kill, []
    monkeypatch.setattr(module, "translate_ray_errors", translate_and_record)
    with ray_cluster(num_cpus=2), connected("auto"), ThreadPoolExecutor(2) as threads:
        pool = RayPool(REQUEST, Hosts(photos.config(store=str(tmp_path / "store")), probes=False), RowCounts(), 60)
        try:
            pool.wait_until_started(120)
            calls = [threads.submit(sleep_in_worker, pool) for _ in range(2)]
            started.wait(120)
            with monkeypatch.context() as patch:
                patch.setattr(ray, "kill", kill_and_wait)
                pool.stop_calls()
            assert [type(call.exception()) for call in calls] == [StoppedError, StoppedError]
        finally:
            pool.close()
    assert [type(error) for error in raised] == [StoppedError, StoppedError]


def answer(pool):
    """Return the result of a call in a worker of a pool."""
    with pool.worker(timeout_s=60) as start:
        return start(sum, (1, 2)).result()
