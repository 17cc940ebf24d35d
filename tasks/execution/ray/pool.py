"""Long-lived workers on the machines of a cluster. Each makes one shard at a time, and is replaced if it fails."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from clipes.tasks.execution.ray.errors import translate_ray_errors
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import WorkerRequest
from clipes.tasks.execution.ray.reports import RowCounts
from clipes.tasks.execution.ray.slots import Slot, SlotKeeper, SlotState
from clipes_core.errors import StoppedError, WorkerError

POLL_SECONDS = 0.1
WAIT_SECONDS = 1.0  # a waiting call also looks without being notified
QUIET_SECONDS = 20.0  # after which a call that waits for the first worker says so
STARVING_SECONDS = 3.0  # without any worker, before pools of other kinds are asked for room

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActorCall:
    """A call that runs in an actor.

    Attributes:
        reference: pending answer of the actor.
        timeout_s: time limit of the call [s]; None for no limit.
        worker: name of the actor.
        node: name of its machine.
        counters: counts of the rows of the run.
    """

    reference: Any
    timeout_s: float | None
    worker: str
    node: str
    counters: RowCounts

    def result(self) -> Any:
        """Wait for the end of the call. Return its result, or raise its error as Ray reports it."""
        result, report = ray.get(self.reference, timeout=self.timeout_s)
        self.counters.add(self.worker, report)
        report.repeat_log(self.node)
        return result


class RayPool:
    """A pool of workers with the same resources, whose slots a `SlotKeeper` keeps filled. A call takes an idle worker.

    Args:
        request: resources and number of the workers.
        hosts: the machines, and what the run expects of them.
        counters: counts of the rows of the run.
        wait_s: longest time that a call waits while the pool has no worker at all [s].
        places: options of the actor of each slot; if they are given, the actors are not replaced.

    Attributes:
        rivals: pools of other kinds on the same machines; they end idle workers if this pool has no worker at all.
        starves: true while a call waits, and the pool has no worker.
    """

    def __init__(
        self,
        request: WorkerRequest,
        hosts: Hosts,
        counters: RowCounts,
        wait_s: float,
        places: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        self.request, self.hosts, self.counters = request, hosts, counters
        self._wait_s, self._replaces = wait_s, not places
        self._changed = threading.Condition()
        self.slots = [Slot(request, dict(each)) for each in places or ({},) * request.count]
        self._stopped: set[str] = set()  # names of the workers whose calls were stopped
        self.rivals: list[RayPool] = []
        self.starves = False
        self._keeper = SlotKeeper(
            self.slots, self._changed, hosts, counters, not places, lambda: any(pool.starves for pool in self.rivals)
        )

    def wait_until_started(self, grace_s: float, number: int | None = None) -> None:
        """Wait until workers have answered; after the first answer, wait for the others for at most `grace_s`.

        Args:
            grace_s: longest time between the first answer and the last one that is awaited [s].
            number: number of workers to wait for; None for all.

        Raises:
            ConfigError: a machine does not suit the run, which has not started yet.
            WorkerError: no worker has answered within `wait_s`.
            StoppedError: the pool was closed.
        """
        began, first, told = time.monotonic(), True, False
        end = began + self._wait_s
        with self._changed:
            while sum(slot.started for slot in self.slots) < min(number or len(self.slots), len(self.slots)):
                self._keeper.check()
                self.hosts.check()
                if first and any(slot.started for slot in self.slots):
                    end, first = min(end, time.monotonic() + grace_s), False
                if time.monotonic() >= end:
                    break
                if first and not told and time.monotonic() >= began + QUIET_SECONDS:
                    told, needs = True, _needs(self.request)
                    logger.info("waiting up to %g s for a worker of the Ray cluster (%s)", self._wait_s, needs)
                self._changed.wait(POLL_SECONDS)
            self.hosts.check()
            if not any(slot.started for slot in self.slots):
                raise _no_worker(self.request, self._wait_s)

    def extend(self, count: int) -> None:
        """Add slots until there are at least `count`; used when machines have joined the cluster."""
        with self._changed:
            self.slots.extend(Slot(self.request) for _ in range(count - len(self.slots)))

    def paused(self, keep_started: bool = False) -> AbstractContextManager[None]:
        """End all workers, or only those that have not answered, and start none while a block runs."""
        return self._keeper.pause(keep_started)

    def close(self) -> None:
        """End all workers. Their unfinished work is lost, and threads that wait for a result get a StoppedError."""
        with self._changed:
            self._keeper.closed = True
            self._keeper.end_workers()
        self._keeper.join()

    @contextmanager
    def worker(self, timeout_s: float | None, number: int | None = None) -> Iterator[Callable[..., ActorCall]]:
        """Wait for an idle worker, and yield a function that starts one call in this worker.

        The caller must wait for the result inside the block, as for `WorkerPool.idle_worker`.

        Args:
            timeout_s: time limit of the call [s]; None for no limit.
            number: number of a slot whose worker is wanted; None for any worker.

        Raises:
            WorkerError: the worker died, ran out of memory or took longer than `timeout_s`; or the pool had no worker
                for `wait_s`.
            NodeLostError: the machine of the worker was lost.
            StoppedError: the pool was closed, or the call was stopped.
            Exception: whatever the function raises.
        """
        slot = self._take(number)
        name, node, failed = slot.name, slot.node, False

        def is_ended() -> bool:
            return self._keeper.closed or name in self._stopped

        def start(function: Callable[..., Any], /, *args: Any) -> ActorCall:
            return ActorCall(slot.actor.call.remote(function, *args), timeout_s, name, node, self.counters)

        try:
            with translate_ray_errors(slot.node_id, node, timeout_s, is_ended):
                yield start
        except BaseException as exc:  # the worker still works if the function has raised any other Exception
            failed = isinstance(exc, WorkerError | StoppedError) or not isinstance(exc, Exception)
            raise
        finally:
            with self._changed:
                slot.give_back(name, failed)
                self.counters.end_call(name)  # before another thread starts a call in this worker
                self._changed.notify_all()

    def stop_calls(self) -> None:
        """End the busy workers. Threads that wait for their results get a StoppedError."""
        with self._changed:
            busy = [slot for slot in self.slots if slot.state is SlotState.BUSY]
            self._stopped.update(slot.name for slot in busy)  # before any worker ends: callers look without the lock
            for slot in busy:
                ray.kill(slot.actor)

    def _take(self, number: int | None) -> Slot:
        """Wait for an idle worker, and mark it as busy."""
        alone_since: float | None = None
        with self._changed:
            while True:
                wanted = self.slots if number is None else [self.slots[number]]
                self._keeper.check()
                slot = next((each for each in wanted if each.state is SlotState.IDLE), None)
                if slot is not None:
                    slot.state, self.starves = SlotState.BUSY, False
                    return slot
                if any(each.started for each in wanted):
                    alone_since, self.starves = None, False
                elif not self._replaces and any(each.is_dead for each in wanted):
                    raise WorkerError("a worker died before it could start")
                else:
                    alone_since = time.monotonic() if alone_since is None else alone_since
                    alone_s = time.monotonic() - alone_since
                    self.starves = STARVING_SECONDS < alone_s <= self._wait_s
                    if alone_s > self._wait_s:
                        raise _no_worker(self.request, self._wait_s)
                self._changed.wait(WAIT_SECONDS)


def _no_worker(request: WorkerRequest, wait_s: float) -> WorkerError:
    return WorkerError(
        f"no worker of the Ray cluster was ready within {wait_s:g} s ({_needs(request)}): `ray status` shows what the "
        "cluster lacks; add machines, wait until other programs free them, or raise execution.runner.wait_s"
    )


def _needs(request: WorkerRequest) -> str:
    gpus = f"GPUs: {request.gpus:g}, " if request.gpus else ""
    return f"each needs {gpus}cores: {request.cpus:g}"
