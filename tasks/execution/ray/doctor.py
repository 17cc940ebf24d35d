"""Check a Ray cluster for `clipes doctor`: the connection, the machines, the store, and the network between them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import ray
from ray.exceptions import AuthenticationError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from clipes.tasks.execution.ray.actor import rendezvous_url
from clipes.tasks.execution.ray.handshake import host_facts
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import Node, WorkerRequest, connected, worker_requests
from clipes.tasks.execution.ray.runner import RaySettings
from clipes.tasks.storage.filesystem import first_line
from clipes_core.config.run import RunConfig
from clipes_core.errors import ClipesError, ConfigError, TransientError

ANSWER_SECONDS = 120.0  # time that all machines together have for each question
NO_CUDA = "install a driver and a torch for CUDA"
GIB = 1 << 30
Check = tuple[str, bool | None, str]  # what was checked, whether it works (None for a warning), and details
# Connects another process to the cluster at an address; this process cannot change its own use of tokens.
CLIENT = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)"
CLIENT_SETTINGS = {"RAY_AUTH_MODE": "disabled", "RAY_NUM_REDIS_GET_RETRIES": "3"}  # Ray repeats refused requests
CLIENT_SECONDS = 60.0


def examine_cluster(config: RunConfig, settings: RaySettings) -> Iterator[Check]:
    """Check a cluster, and yield the results. The check of the store writes small files, and removes them.

    Args:
        config: configuration with the store and the weights to check.
        settings: settings of the runner.
    """
    try:
        with connected(settings.address):
            yield from _examine(config, settings)
    except (ConfigError, RayError) as exc:
        yield "ray cluster", False, first_line(exc)


def _examine(config: RunConfig, settings: RaySettings) -> Iterator[Check]:
    # Ray hides the GPUs from a task that asks for none, so the machines are examined without them.
    hosts = Hosts(config.model_copy(update={"clip": config.clip.model_copy(update={"device": "cpu"})}), probes=True)
    nodes = hosts.look()
    requests = worker_requests(config, settings, nodes)
    counts = f"{requests['gpu'].count} GPU workers on {requests['gpu'].device}, {requests['cpu'].count} CPU workers"
    yield "ray cluster", True, f"{len(nodes)} machines with room for {counts}"
    yield "ray ports", *_check_ports(ray.get_runtime_context().gcs_address)
    on_gpus = requests["gpu"].gpus > 0
    roles = {node: _role(bool(node.gpus if on_gpus else node.cpus)) for node in nodes}
    try:
        with hosts.probing():
            facts = _Answers(
                {node: _on(node, host_facts, hosts.handshake_request(node, role)) for node, role in roles.items()},
                late=("has not answered", "start Ray there again if the machine hangs"),
                failed=("does not answer", "install the same clipes there, and see `ray status`"),
            )
            for node, role in roles.items():
                yield _check_node(hosts, node, facts, role)
        nodes = facts.answered()
    except ClipesError as exc:
        yield "ray store", False, str(exc)
    share = settings.gpus_per_worker
    names = _Answers(
        {node: _on(node, gpu_name, num_gpus=share) for node in nodes if node.gpus},
        late=("no GPU was free", "`ray status` shows what the cluster does"),
        failed=("torch cannot use the GPU", NO_CUDA),
    )
    for node in names.nodes:
        yield _check_gpu(node, names)
    if len(nodes) > 1:
        yield _all_reduce(nodes)


def _role(networks: bool) -> WorkerRequest:
    """Return the worker that a machine must suit. Only workers that run networks need weights."""
    return WorkerRequest("cpu", 0, 0, 1, 1, networks, fixed=True)


class _Answers:
    """The answers of machines to a question. All machines together have ANSWER_SECONDS.

    Args:
        references: machine -> reference of its answer.
        late: what is wrong if an answer does not arrive in time, and what to do.
        failed: what is wrong if an answer is an error, and what to do.

    Attributes:
        nodes: the machines.
    """

    def __init__(self, references: Mapping[Node, Any], late: tuple[str, str], failed: tuple[str, str]) -> None:
        self._references, self._late, self._failed = references, late, failed
        self._end = time.monotonic() + ANSWER_SECONDS
        self.nodes = tuple(references)

    def of(self, node: Node) -> tuple[Any, str]:
        """Wait for the answer of a machine. Return it and an empty text, or None and what is wrong."""
        try:
            return ray.get(self._references[node], timeout=max(0.0, self._end - time.monotonic())), ""
        except GetTimeoutError:
            problem, advice = self._late
            return None, f"{problem} within {ANSWER_SECONDS:g} s: {advice}"
        except RayError as exc:
            problem, advice = self._failed
            return None, f"{problem} ({first_line(exc)}): {advice}"

    def answered(self) -> list[Node]:
        """Return the machines that have answered by now, including those whose answer is an error."""
        ready, _ = ray.wait(list(self._references.values()), num_returns=len(self.nodes), timeout=0)
        return [node for node, reference in self._references.items() if reference in ready]


def _check_ports(address: str) -> tuple[bool | None, str]:
    """Return (True, details) if the cluster refuses clients without a token, otherwise (None, details), a warning.

    The variable RAY_AUTH_MODE of this process does not say so, because a cluster without a token accepts any token.

    Args:
        address: address of the cluster's state, as HOST:PORT.
    """
    try:
        client = subprocess.run(
            [sys.executable, "-c", CLIENT, address],
            env={**os.environ, **CLIENT_SETTINGS},
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"a client without a token has no answer after {CLIENT_SECONDS:g} s: see `ray status`"
    if client.returncode == 0:
        return None, (
            "the cluster accepts clients without a token, so anyone who reaches its ports can run programs on it: keep "
            "them in a private network, or set RAY_AUTH_MODE=token on all machines before Ray starts"
        )
    if AuthenticationError.__name__ in client.stderr:
        return True, "the cluster refuses clients without a token"
    reason = (client.stderr.strip().splitlines() or ["no message"])[-1]
    return None, f"a client without a token cannot connect, for an unknown reason ({reason}): see `ray status`"


def _check_node(hosts: Hosts, node: Node, facts: _Answers, request: WorkerRequest) -> Check:
    what = f"ray {node.name}"
    found, problem = facts.of(node)
    if problem:
        return what, False, problem
    try:
        if not hosts.suits(node.node_id, found, request):
            return what, False, hosts.refusal(node.node_id)
    except TransientError as exc:
        return what, False, str(exc)
    size = f"{node.cpus} cores, {node.gpus:g} GPUs, {node.memory_bytes / GIB:.1f} GiB"
    same = "packages and weights are" if request.networks else "packages (it needs no weights) are"
    return what, True, f"{size}; its {same} those of this run, and it shares the store"


def _check_gpu(node: Node, names: _Answers) -> Check:
    name, problem = names.of(node)
    return f"ray {node.name} GPU", bool(name), name or problem or f"torch finds no CUDA device: {NO_CUDA}"


def gpu_name() -> str:
    """Return the name and the memory of the GPU of this process; empty if torch finds none. Called in a worker."""
    import torch

    if not torch.cuda.is_available():
        return ""
    return f"{torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / GIB:.0f} GiB"


def _all_reduce(nodes: Sequence[Node]) -> Check:
    """Check that processes on all machines can add up numbers, as a training on several machines does."""
    try:
        url = ray.get(_on(nodes[0], rendezvous_url), timeout=ANSWER_SECONDS)
        sums = [_on(node, sum_of_ones, url, rank, len(nodes)) for rank, node in enumerate(nodes)]
        found = ray.get(sums, timeout=ANSWER_SECONDS)
    except RayError as exc:
        return "ray network", False, f"the machines cannot connect to each other's ports ({first_line(exc)})"
    works = found == [len(nodes)] * len(nodes)
    return "ray network", works, f"an all-reduce over {len(nodes)} machines gives {found[0]:g}"


def sum_of_ones(url: str, rank: int, processes: int) -> float:
    """Add up a one of each process, and return the sum. Called in a worker on each machine.

    Args:
        url: URL at which the processes find each other.
        rank: rank of this process.
        processes: number of processes.
    """
    import torch
    from torch import distributed

    limit = timedelta(seconds=ANSWER_SECONDS / 2)
    distributed.init_process_group("gloo", init_method=url, rank=rank, world_size=processes, timeout=limit)
    try:
        one = torch.ones(1)
        distributed.all_reduce(one)
        return float(one)
    finally:
        distributed.destroy_process_group()


def _on(node: Node, function: Any, *args: Any, num_gpus: float = 0) -> Any:
    """Start a call on a machine, and return the reference of its result."""
    place = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    remote = ray.remote(num_cpus=0, num_gpus=num_gpus, max_retries=0)(function)
    return remote.options(scheduling_strategy=place).remote(*args)
