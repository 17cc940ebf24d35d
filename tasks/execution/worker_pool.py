"""Long-lived worker processes: pinned to a device, one shard at a time, replaced when they die or hang."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from clipes.tasks.machine.log import log_level
from clipes.tasks.machine.processes import SPAWN_CONTEXT
from clipes.tasks.machine.row_counters import Counters, SlotCounters
from clipes.tasks.machine.worker import WorkerSlot, start_worker
from clipes_core.errors import StageError, WorkerError

Result = TypeVar("Result")


class WorkerPool:
    """One process per slot. A call takes an idle one, so a slot does one thing at a time.

    Args:
        slots: where the processes compute.
        counters: of rows, which this pool adds its slots to.
    """

    def __init__(self, slots: Sequence[WorkerSlot], counters: Counters) -> None:
        self.counters = counters
        self._slots = tuple((slot, counters.of_slot()) for slot in slots)
        self._pools = [self._new_pool(*slot) for slot in self._slots]
        self._running: set[ProcessFuture] = set()
        self._lock, self._closed = threading.Lock(), False
        self._idle: queue.SimpleQueue[int] = queue.SimpleQueue()
        for place in range(len(self._slots)):
            self._idle.put(place)

    @property
    def devices(self) -> tuple[str, ...]:
        """Of its processes, in the order in which they are taken after `renew`."""
        return tuple(slot.device for slot, _ in self._slots)

    def run(self, function: Callable[..., Result], *args: Any, timeout_s: float | None) -> Result:
        """Run a function in an idle worker and wait for it, without an end where `timeout_s` is None.

        Raises:
            WorkerError: the worker died, ran out of memory or took longer than `timeout_s`; it is replaced.
            StageError: the pool was closed meanwhile.
            Exception: whatever `function` raises.
        """
        place = self._idle.get()
        try:
            return self._result(self._pool(place).schedule(function, args=args, timeout=timeout_s))
        except BrokenProcessPool as exc:
            raise WorkerError("its worker process died before it began (often for lack of memory)") from exc
        except (CancelledError, RuntimeError) as exc:
            if self._closed:
                raise StageError("stopped before it was done") from exc
            raise
        except FutureTimeoutError as exc:
            if exc.__cause__ is not None:  # pebble's own has none: the function has raised this one
                raise
            raise WorkerError(f"stopped after {timeout_s:g} s: raise execution.shard_timeout_s") from exc
        except MemoryError as exc:
            self._pools[place].stop()  # what it holds goes with it; the next call finds a new one
            raise WorkerError("its worker process ran out of memory") from exc
        except ProcessExpired as exc:
            raise WorkerError(
                f"its worker process died with exit code {exc.exitcode} (-9: killed, often for lack of memory)"
            ) from exc
        finally:
            self._idle.put(place)

    def close(self) -> None:
        """End the processes; what they are doing is lost, and who waits for it is told."""
        with self._lock:
            self._closed = True
        self.stop_calls()
        for pool in self._pools:
            pool.stop()
        for pool in self._pools:
            pool.join()

    def renew(self) -> None:
        """End the processes that are idle, and what they hold in memory; the next call finds new ones."""
        places = []
        with suppress(queue.Empty):
            while True:
                places.append(self._idle.get_nowait())
        for place in places:
            self._pools[place].stop()
        for place in sorted(places):
            self._pools[place].join()
            self._idle.put(place)

    def stop_calls(self) -> None:
        """End the processes that are at work; who waits for them is told."""
        for future in tuple(self._running):
            future.cancel()

    def _pool(self, place: int) -> ProcessPool:
        """The pool of a slot; a new one where its process died idle, which pebble takes for the pool's end."""
        with self._lock:
            pool = self._pools[place]
            if not pool.active and not self._closed:
                pool.stop()
                pool.join()
                self._pools[place] = self._new_pool(*self._slots[place])
            return self._pools[place]

    def _new_pool(self, slot: WorkerSlot, counters: SlotCounters) -> ProcessPool:
        initargs = (slot, counters, log_level())
        return ProcessPool(max_workers=1, initializer=start_worker, initargs=initargs, context=SPAWN_CONTEXT)

    def _result(self, future: ProcessFuture) -> Any:
        self._running.add(future)
        try:
            if self._closed:
                future.cancel()
            return future.result()
        finally:
            self._running.discard(future)


@contextmanager
def worker_pool(slots: Sequence[WorkerSlot], counters: Counters) -> Iterator[WorkerPool]:
    """A pool that is closed at the end of the block."""
    pool = WorkerPool(slots, counters)
    try:
        yield pool
    finally:
        pool.close()
