"""Workers of a cluster that train together. They replace the workers that compute CAMs while a training runs."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from clipes.tasks.execution.ray.actor import rendezvous_url
from clipes.tasks.execution.ray.nodes import room_for
from clipes.tasks.execution.ray.pool import ActorCall, RayPool
from clipes.tasks.execution.ray.reports import RowCounts
from clipes_core.errors import StoppedError, WorkerError

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0  # that a training waits for the other workers once the first has started


class TrainingPool:
    """The pool of a joint stage; see `JointPool`. Its workers have the resources of the workers that run networks.

    Args:
        pool: the pool of the workers that run networks, which are ended while a training runs.
        other: the pool of the other workers; its pending workers must not take the room of the training.
        most_nodes: largest number of machines that train together.
        wait_s: longest time to wait for the machines [s].
    """

    def __init__(self, pool: RayPool, other: RayPool, most_nodes: int, wait_s: float) -> None:
        self._pool, self._other, self._most_nodes, self._wait_s = pool, other, most_nodes, wait_s
        self._training_workers: RayPool | None = None
        self._closed = False

    @property
    def counters(self) -> RowCounts:
        """The counts of the steps."""
        return self._pool.counters

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each worker on the machines that have the most workers, at most `most_nodes` machines.

        The workers of the pool may be about to start again, after another training or with a machine that was lost, so
        wait until as many have started as the machines have room for.

        Raises:
            WorkerError: no worker has started in time.
            StoppedError: the pool was closed.
        """
        self._pool.wait_until_started(GRACE_SECONDS, room_for(self._pool.request, self._pool.hosts.look()))
        per_node = Counter(slot.node_id for slot in self._pool.slots if slot.started)
        count = sum(number for _, number in per_node.most_common(self._most_nodes))
        if self._pool.request.device == "cpu":
            return ("cpu",) * count
        return tuple(f"{self._pool.request.device}:{number}" for number in range(count))

    @contextmanager
    def gathered(self, processes: int) -> Iterator[str]:
        """Replace the workers of the pool by training workers on as few machines as possible during the block.

        Raises:
            WorkerError: the cluster has no room for the workers, or one of them died.
            StoppedError: the pool was closed.
        """
        request = replace(self._pool.request, count=processes)
        bundle = {"CPU": request.cpus, **({"GPU": request.gpus} if request.gpus else {})}
        with self._other.paused(keep_started=True), self._pool.paused():
            selector = self._pool.hosts.selector()
            group = placement_group(
                [bundle] * processes,
                "STRICT_PACK" if self._most_nodes == 1 else "PACK",
                bundle_label_selector=[selector] * processes if selector else None,
            )
            try:
                self._wait_for(group)
                places = tuple(
                    {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, number)}
                    for number in range(processes)
                )
                self._training_workers = RayPool(request, self._pool.hosts, self._pool.counters, self._wait_s, places)
                if self._closed:
                    raise StoppedError("stopped before it was done")
                with self._training_workers.worker(timeout_s=None, number=0) as start:
                    url = start(rendezvous_url).result()
                yield url
            finally:
                if self._training_workers is not None:
                    self._training_workers.close()
                remove_placement_group(group)

    def joint_worker(self, rank: int) -> AbstractContextManager[Callable[..., ActorCall]]:
        """Wait for the worker of a rank. Rank 0 is on the machine that the rendezvous names."""
        assert self._training_workers is not None
        return self._training_workers.worker(timeout_s=None, number=rank)

    def stop_calls(self) -> None:
        """End the busy workers. Threads that wait for their results get a StoppedError."""
        assert self._training_workers is not None
        self._training_workers.stop_calls()

    def close(self) -> None:
        """End all workers, and refuse more work."""
        self._closed = True
        if self._training_workers is not None:
            self._training_workers.close()

    def _wait_for(self, group: PlacementGroup) -> None:
        end = time.monotonic() + self._wait_s
        while not group.wait(POLL_SECONDS):
            if self._closed:
                raise StoppedError("stopped before it was done")
            if time.monotonic() >= end:
                raise WorkerError(
                    f"the Ray cluster had no room for the training within {self._wait_s:g} s: `ray status` shows what "
                    "it lacks"
                )
