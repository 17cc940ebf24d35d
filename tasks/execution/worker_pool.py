"""Long-lived worker processes: pinned to a device, one shard at a time, replaced when they die or hang."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import RLock
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from clipes.tasks.machine.interruption import sigint_blocked
from clipes.tasks.machine.log import log_level
from clipes.tasks.machine.row_counters import Counters, SlotCounters
from clipes.tasks.machine.worker import WorkerSlot, start_worker
from clipes_core.errors import StageError, WorkerError

Result = TypeVar("Result")


class _LockKeeper(SpawnContext):
    """The context that starts one pool's processes; it keeps the pool's locks as long as the pool exists.

    Pebble drops its locks before it ends its processes. Without a keeper, a process that is just starting would not
    find them, and would print a traceback.
    """

    def __init__(self) -> None:
        self._locks: list[RLock] = []

    def RLock(self) -> RLock:  # noqa: N802 -- the name in multiprocessing
        self._locks.append(super().RLock())
        return self._locks[-1]


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
        self._joining = threading.Lock()
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
            with sigint_blocked():  # the worker that starts here, and those that replace it, inherit that
                future = self._pool(place).schedule(function, args=args, timeout=timeout_s)
            return self._result(future)
        except (CancelledError, ProcessExpired, RuntimeError) as exc:
            if self._closed:
                raise StageError("stopped before it was done") from exc
            if isinstance(exc, BrokenProcessPool):
                raise WorkerError("its worker process died before it began (often for lack of memory)") from exc
            if isinstance(exc, ProcessExpired):
                raise WorkerError(
                    f"its worker process died with exit code {exc.exitcode} (-9: killed, often for lack of memory)"
                ) from exc
            raise
        except FutureTimeoutError as exc:
            if exc.__cause__ is not None:  # pebble's own has none: the function has raised this one
                raise
            raise WorkerError(f"stopped after {timeout_s:g} s: raise execution.shard_timeout_s") from exc
        except MemoryError as exc:
            self._pools[place].stop()  # what it holds goes with it; the next call finds a new one
            raise WorkerError("its worker process ran out of memory") from exc
        finally:
            self._idle.put(place)

    def close(self) -> None:
        """End the processes; what they are doing is lost, and who waits for it is told."""
        with self._lock:
            self._closed = True
        self.stop_calls()
        self._end(range(len(self._pools)))

    def renew(self) -> None:
        """End the processes that are idle, and what they hold in memory; the next call finds new ones."""
        places = []
        with suppress(queue.Empty):
            while True:
                places.append(self._idle.get_nowait())
        self._end(places)
        for place in sorted(places):
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
                self._end([place])
                self._pools[place] = self._new_pool(*self._slots[place])
            return self._pools[place]

    def _end(self, places: Iterable[int]) -> None:
        """End the processes of some slots; only one thread at a time joins them.

        When Ctrl-C ends a training, the training's thread and the main thread end the same processes. Pebble's `join`
        does not allow for that: the second thread would close pipes that are closed already ("Bad file descriptor"), or
        a file that has got the same descriptor since.
        """
        pools = [self._pools[place] for place in places]
        for pool in pools:
            pool.stop()
        with self._joining:
            for pool in pools:
                pool.join()

    def _new_pool(self, slot: WorkerSlot, counters: SlotCounters) -> ProcessPool:
        initargs = (slot, counters, log_level())
        return ProcessPool(max_workers=1, initializer=start_worker, initargs=initargs, context=_LockKeeper())

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
