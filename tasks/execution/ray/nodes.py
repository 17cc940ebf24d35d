"""The connection to a Ray cluster, its machines, and how many workers they have room for."""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray.exceptions import RayError

from clipes.tasks.execution.ray.runner import NO_CLIENT, RaySettings
from clipes.tasks.machine.devices import WORKER_BYTES
from clipes.tasks.storage.filesystem import first_line
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError

ADDRESS = "RAY_ADDRESS"
CONNECT_SECONDS = 10.0
SHARED_CORE = 0.5  # without GPUs, a worker for networks and a worker for masks share each core


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect this process to a cluster during the block. If it is connected already, use that connection.

    Args:
        address: setting `execution.runner.address`.

    Raises:
        ConfigError: no cluster answers at the address, or this machine is not part of it.
    """
    if address == "auto" and os.environ.get(ADDRESS, "").startswith("ray://"):
        raise ConfigError(f"{ADDRESS}: {NO_CLIENT}")
    if ray.is_initialized():
        yield
        return
    try:
        try:
            _check_port(os.environ.get(ADDRESS) or address if address == "auto" else address)
            with _kept_signal_handler():
                ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (RayError, ConnectionError, ValueError, RuntimeError, OSError) as exc:
            raise ConfigError(
                f"execution.runner.address {address}: cannot connect to a Ray cluster ({first_line(exc)}); start Ray "
                "on this machine (ray start), or set execution.runner.kind=local"
            ) from exc
        logging.getLogger("ray").setLevel(logging.WARNING)
        yield
    finally:
        ray.shutdown()


def _check_port(address: str) -> None:
    """Raise OSError if an address names a port at which nobody listens, because Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


@contextmanager
def _kept_signal_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block, because Ray replaces it.

    Ray's handler exits with the number of the signal. If this happens in the block, pass the signal to the restored
    handler.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as exc:
        if exc.code == signal.SIGTERM:
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        node_id: Ray's id of the node.
        name: name of the node for messages.
        cpus: processor cores.
        gpus: GPUs.
        memory_bytes: memory that Ray offers to workers.
        alive: whether Ray believes the machine to be alive.
    """

    node_id: str
    name: str
    cpus: int
    gpus: float
    memory_bytes: int
    alive: bool = True


@dataclass(frozen=True)
class WorkerRequest:
    """The resources of each worker of a kind, and how many workers the run wants.

    Attributes:
        device: kind of device that networks run on: cuda or cpu.
        cpus: processor cores of a worker; with SHARED_CORE, two workers share one.
        gpus: GPUs of a worker.
        threads: processor threads of a worker.
        count: number of workers of the run.
        networks: whether the workers run networks.
        fixed: false if the run wants as many workers as the cluster has room for, even if machines join.
    """

    device: str
    cpus: float
    gpus: float
    threads: int
    count: int
    networks: bool
    fixed: bool


def room_for(request: WorkerRequest, nodes: Sequence[Node]) -> int:
    """Return how many workers of a kind that runs networks the machines have room for, at least 1."""
    return max(1, sum(_room(request, node) for node in nodes))


def _room(request: WorkerRequest, node: Node) -> int:
    by_cores = node.cpus // request.threads
    if request.gpus:
        return min(int(node.gpus / request.gpus), by_cores)
    return by_cores if request.fixed else min(by_cores, max(1, node.memory_bytes // WORKER_BYTES))


def known_nodes() -> list[Node]:
    """Return the machines of the cluster, including those that Ray believes to be dead."""
    return [_node(entry) for entry in ray.nodes()]


def is_alive(node_id: str) -> bool:
    """Return whether Ray believes a machine to be alive."""
    return any(entry["NodeID"] == node_id and entry["Alive"] for entry in ray.nodes())


def _node(entry: dict[str, Any]) -> Node:
    resources = entry["Resources"]
    name, address, host = entry["NodeName"], entry["NodeManagerAddress"], entry["NodeManagerHostname"]
    return Node(
        entry["NodeID"],
        host if name == address else name,  # Ray names a node by its address unless it was started with --node-name
        int(resources.get("CPU", 0)),
        resources.get("GPU", 0),
        int(resources.get("memory", 0)),
        entry["Alive"],
    )


def worker_requests(config: RunConfig, settings: RaySettings, nodes: Sequence[Node]) -> dict[str, WorkerRequest]:
    """Return kind of worker (gpu, cpu) -> its request, for a cluster with these machines.

    If a machine has a GPU, or `clip.device` is cuda, networks run on GPUs. Otherwise, they run on the processors, with
    as many workers per machine as the runner `local` would have there.

    Raises:
        ConfigError: the settings do not suit the machines.
    """
    device = config.clip.device
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"clip.device: Ray chooses the GPU of each worker; set auto, cuda or cpu (got {device!r})")
    if device == "cuda" or (device == "auto" and any(node.gpus for node in nodes)):
        return _with_gpus(config, settings, nodes)
    return _without_gpus(config, nodes)


def _with_gpus(config: RunConfig, settings: RaySettings, nodes: Sequence[Node]) -> dict[str, WorkerRequest]:
    cores, wanted = settings.cpus_per_gpu_worker, config.execution.gpu_workers
    gpu = WorkerRequest("cuda", cores, settings.gpus_per_worker, cores, 1, networks=True, fixed=wanted != "auto")
    rooms = [_room(gpu, node) for node in nodes]
    if wanted == "auto" and any(node.gpus for node in nodes) and not any(rooms):
        raise ConfigError(
            f"execution.runner: no machine has {gpu.gpus:g} GPUs and {cores} cores for a GPU worker; lower "
            "gpus_per_worker or cpus_per_gpu_worker"
        )
    left = sum(node.cpus for node in nodes) - cores * sum(rooms)
    masks = config.execution.cpu_workers
    if masks == "auto" and left < 1:
        raise ConfigError(
            f"execution.runner.cpus_per_gpu_worker: with {cores} cores per GPU worker, no core is left for the CPU "
            "workers; lower it, or add machines"
        )
    return {"gpu": _with_count(gpu, wanted, nodes), "cpu": _cpu_request(1, masks, left)}


def _without_gpus(config: RunConfig, nodes: Sequence[Node]) -> dict[str, WorkerRequest]:
    cores, wanted = sum(node.cpus for node in nodes), config.execution.gpu_workers
    threads = 1
    if wanted != "auto":
        threads = max(1, min(cores // wanted, max((node.cpus for node in nodes), default=1)))
    gpu = WorkerRequest("cpu", SHARED_CORE * threads, 0, threads, 1, networks=True, fixed=wanted != "auto")
    masks = _cpu_request(SHARED_CORE, config.execution.cpu_workers, max(1, cores))
    return {"gpu": _with_count(gpu, wanted, nodes), "cpu": masks}


def _with_count(request: WorkerRequest, wanted: int | Literal["auto"], nodes: Sequence[Node]) -> WorkerRequest:
    """Return a request for as many workers as the settings want; with auto, as the machines have room for."""
    return replace(request, count=room_for(request, nodes) if wanted == "auto" else wanted)


def _cpu_request(cpus: float, wanted: int | Literal["auto"], cores: int) -> WorkerRequest:
    """Return the request for workers that run no networks; with auto, a worker for each of these cores."""
    count = cores if wanted == "auto" else wanted
    return WorkerRequest("cpu", cpus, 0, 1, count, networks=False, fixed=wanted != "auto")
