"""Real Ray clusters on this machine, whose nodes tests can kill, freeze and add."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from clipes.tasks.machine.devices import cores

TESTS = Path(__file__).parents[1]
PYTHONPATH = os.pathsep.join([str(TESTS.parent), str(TESTS)])  # of workers, which import the stages of tests
SMALL_STORE = 80 << 20  # [bytes]; Ray's minimum is 75 MiB


def node_options(**options: Any) -> dict[str, Any]:
    """Return the options of a node with as many CPUs as this machine has cores."""
    return {"num_cpus": cores(), "object_store_memory": SMALL_STORE, "include_dashboard": False, **options}


@contextmanager
def ray_cluster(*nodes: dict[str, Any], **head: Any) -> Iterator[Cluster]:
    """Start a cluster, set RAY_ADDRESS to it, and end all its processes after the block.

    Args:
        nodes: options of each further node.
        head: options of the first node, on which this process runs.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "OMP_NUM_THREADS"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", PYTHONPATH)
        cluster = Cluster(initialize_head=True, head_node_args=node_options(node_name="first", **head))
        try:
            patch.setenv("RAY_ADDRESS", cluster.address)
            for options in nodes:
                add_node(cluster, **options)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Cluster, **options: Any) -> Any:
    """Add a node to a cluster, and return it."""
    return cluster.add_node(**node_options(**options))


def process_ids(node: Any) -> list[int]:
    """Return the id of the process of a node that manages its workers."""
    return [info.process.pid for info in node.all_processes["raylet"]]


def worker_processes(cluster: Cluster) -> list[psutil.Process]:
    """Return the worker processes of clipes on the nodes of a cluster. Tests on other clusters may run beside it."""
    family = [child for node in cluster.list_all_nodes() for child in _descendants(node)]
    return [process for process in family if _title(process).startswith("ray::ShardWorker")]


def freeze(node: Any) -> list[psutil.Process]:
    """Stop all processes of a node without ending them, and return them."""
    family = [*map(psutil.Process, process_ids(node)), *_descendants(node)]
    for process in family:
        process.suspend()
    return family


def node_of(pid: int, nodes: Iterable[Any]) -> Any:
    """Return the node on which a worker runs."""
    parents = {parent.pid for parent in psutil.Process(pid).parents()}
    return next(node for node in nodes if parents & set(process_ids(node)))


def _descendants(node: Any) -> list[psutil.Process]:
    return [child for pid in process_ids(node) for child in psutil.Process(pid).children(recursive=True)]


def _title(process: psutil.Process) -> str:
    """Return the title of a process; empty if it has ended, also as a zombie."""
    try:
        return "".join(process.cmdline()[:1])
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
