"""Pools of workers on a real cluster that has no room for all of them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.ray_clusters import ray_cluster

from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import WorkerRequest, connected
from clipes.tasks.execution.ray.pool import RayPool
from clipes.tasks.execution.ray.reports import RowCounts

REQUEST = WorkerRequest("cpu", 1, 0, 1, 2, networks=False, fixed=True)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


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


def answer(pool):
    """Return the result of a call in a worker of a pool."""
    with pool.worker(timeout_s=60) as start:
        return start(sum, (1, 2)).result()
