"""How many workers the machines of a cluster have room for, and what exits from Ray do; no cluster runs."""

import signal
import sys

import pytest
import ray
from support.plain_runs import run_inputs

from clipes.tasks.execution.ray.nodes import Node, connected, worker_requests
from clipes.tasks.execution.ray.runner import RaySettings

GIB = 1 << 30


def gpu_request(execution, *cores):
    """Return the request for workers that run networks, on machines without GPUs that have these numbers of cores."""
    config = run_inputs(settings={"execution": execution}).config
    nodes = [Node(str(number), str(number), count, 0, 100 * GIB) for number, count in enumerate(cores)]
    return worker_requests(config, RaySettings(), nodes)["gpu"]


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(2, (5, 5), 5), (4, (5, 5), 2), (20, (5, 5), 1), (1, (2, 6), 6)]
)
def test_the_cores_are_divided_into_whole_threads_if_the_number_of_workers_is_set(workers, cores, threads):
    request = gpu_request({"gpu_workers": workers}, *cores)
    assert (request.count, request.threads, request.cpus) == (workers, threads, threads / 2)
    assert isinstance(request.threads, int)


def test_each_core_has_a_worker_with_one_thread_by_default():
    request = gpu_request({}, 5, 3)
    assert (request.count, request.threads, request.cpus) == (8, 1, 0.5)


@pytest.mark.parametrize(("code", "received"), [(1, []), (int(signal.SIGTERM), [signal.SIGTERM])])
def test_only_an_exit_of_the_signal_handler_of_ray_passes_the_signal_on(monkeypatch, code, received):
    found = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    monkeypatch.setattr(ray, "init", lambda **options: sys.exit(code))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    try:
        with pytest.raises(SystemExit), connected("auto"):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == received
