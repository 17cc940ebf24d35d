"""Long-lived worker processes. Each is bound to a device, makes one shard at a time, and is replaced if it fails."""

import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import RLock
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from clipes.tasks.machine.interruption import sigint_blocked
from clipes.tasks.machine.log import log_level
from clipes.tasks.machine.row_counters import Counters, SlotCounters
from clipes.tasks.machine.worker_state import WorkerSlot, start_worker
from clipes_core.errors import StoppedError, WorkerError

_STARTING = threading.Lock()  # the main module is hidden while a process starts
StartCall = Callable[..., ProcessFuture]  # starts a call in a worker; takes a picklable function and its arguments


class _WorkerProcess(SpawnProcess):
    """A process that does not import the main module of this process.

    Workers need no object of the main module. It may be a user's script without the test of `__name__`, which would
    start the run once more in each worker.
    """

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802 -- multiprocessing defines the name
        with _STARTING, _hidden_main():
            return SpawnProcess._Popen(process)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide from multiprocessing, for the duration of the block, where the main module comes from."""
    names = vars(sys.modules["__main__"])
    before: dict[str, Any] = {name: names[name] for name in ("__spec__", "__file__") if name in names}
    names["__spec__"] = None
    names.pop("__file__", None)
    try:
        yield
    finally:
        names.update(before)


class _LockKeeper(SpawnContext):
    """A multiprocessing context that starts the processes of one pool and keeps the pool's locks alive.

    Pebble releases a pool's locks before it ends the pool's processes. Without this context, a process that is just
    starting would then find no locks, and would print a traceback.
    """

    Process = _WorkerProcess

    def __init__(self) -> None:
        self._locks: list[RLock] = []

    def RLock(self) -> RLock:  # noqa: N802 -- multiprocessing defines the name
        self._locks.append(super().RLock())
        return self._locks[-1]


class WorkerPool:
    """A pool of worker processes. A call takes an idle process, so a process runs one call at a time.

    Args:
        slots: device and threads of each process. The pool has one process per slot.
        counters: row counters of the run. The pool adds one counter per slot.
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
        """The device of each process, in the order of the slots. After `renew`, calls take processes in this order."""
        return tuple(slot.device for slot, _ in self._slots)

    @contextmanager
    def idle_worker(self, timeout_s: float | None) -> Iterator[StartCall]:
        """Wait for an idle worker, and yield a function that starts one call in this worker.

        The caller must wait for the result inside the block:

            with pool.idle_worker(timeout_s) as start:
                return start(make_shard, job).result()

        Args:
            timeout_s: time after which the call is stopped [s]; None for no limit.

        Raises:
            WorkerError: the worker died, ran out of memory or took longer than `timeout_s`. A new worker replaces it
                before the next call.
            StoppedError: the call was stopped by `stop_calls`, or the pool was closed.
            Exception: whatever the function raises.
        """
        place = self._idle.get()
        futures: list[ProcessFuture] = []

        def start(function: Callable[..., Any], /, *args: Any) -> ProcessFuture:
            with sigint_blocked():  # so the worker, and any that replaces it, starts with SIGINT blocked
                futures.append(self._pool(place).schedule(function, args=args, timeout=timeout_s))
            self._running.update(futures)
            if self._closed:
                futures[0].cancel()
            return futures[0]

        try:
            yield start
        except CancelledError as exc:
            raise StoppedError("stopped before it was done") from exc
        except (ProcessExpired, RuntimeError) as exc:
            if self._closed:
                raise StoppedError("stopped before it was done") from exc
            if isinstance(exc, BrokenProcessPool):
                raise WorkerError("its worker process died at the start (often because memory ran out)") from exc
            if isinstance(exc, ProcessExpired):
                cause = " (killed, often because memory ran out)" if exc.exitcode == -9 else ""
                raise WorkerError(f"its worker process died with exit code {exc.exitcode}{cause}") from exc
            raise
        except FutureTimeoutError as exc:
            if exc.__cause__ is not None:  # the function itself raised it, because pebble's own timeout has no cause
                raise
            raise WorkerError(f"stopped after {timeout_s:g} s: raise execution.shard_timeout_s") from exc
        except MemoryError as exc:
            self._pools[place].stop()  # frees the worker's memory; the next call starts a new worker
            raise WorkerError("its worker process ran out of memory") from exc
        finally:
            self._running.difference_update(futures)
            self._slots[place][1].clear()
            self._idle.put(place)

    @contextmanager
    def gathered(self, processes: int) -> Iterator[str]:
        """Free the memory of CLIP, which joint work does not need, before and after the block; see `JointPool`."""
        self.renew()
        try:
            with tempfile.TemporaryDirectory(prefix="clipes-rendezvous-") as folder:
                yield (Path(folder) / "rendezvous").as_uri()
        finally:
            self.renew()

    def joint_worker(self, rank: int) -> AbstractContextManager[StartCall]:
        """Return `idle_worker` without a time limit. Any process can have any rank, because all are on this host."""
        return self.idle_worker(timeout_s=None)

    def close(self) -> None:
        """End all processes. Their unfinished work is lost, and threads that wait for a result get a StoppedError."""
        with self._lock:
            self._closed = True
        self.stop_calls()
        self._end(range(len(self._pools)))

    def renew(self) -> None:
        """End the idle processes to free their memory; the next calls start new ones."""
        places = []
        with suppress(queue.Empty):
            while True:
                places.append(self._idle.get_nowait())
        self._end(places)
        for place in sorted(places):
            self._idle.put(place)

    def stop_calls(self) -> None:
        """End the busy processes. Threads that wait for a result of these processes get a StoppedError."""
        for future in tuple(self._running):
            future.cancel()

    def _pool(self, place: int) -> ProcessPool:
        """Return the `ProcessPool` of a slot. Each `ProcessPool` has a single process.

        If the process died while it was idle, pebble has closed the `ProcessPool`. It is then replaced by a new one.
        """
        with self._lock:
            pool = self._pools[place]
            if not pool.active and not self._closed:
                self._end([place])
                self._pools[place] = self._new_pool(*self._slots[place])
            return self._pools[place]

    def _end(self, places: Collection[int]) -> None:
        """End the processes of some slots. Only one thread at a time calls pebble's `join`.

        After Ctrl-C during a training, the training's thread and the main thread end the same processes. If both
        threads called `join` at the same time, the second thread would close pipes that are already closed ("Bad file
        descriptor"), or would close a new file that has the descriptor of such a pipe.
        """
        pools = [self._pools[place] for place in places]
        for pool in pools:
            pool.stop()
        with self._joining:
            for pool in pools:
                pool.join()
        for place in places:  # a process that was stopped may have counted rows after the end of its call
            self._slots[place][1].clear()

    def _new_pool(self, slot: WorkerSlot, counters: SlotCounters) -> ProcessPool:
        initargs = (slot, counters, log_level())
        return ProcessPool(max_workers=1, initializer=start_worker, initargs=initargs, context=_LockKeeper())
