"""Long-lived worker processes: pinned to a device, one shard at a time, replaced when they die or hang."""

import multiprocessing
import os
import queue
import resource
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from clipes.tasks.machine.log import show_log, shown_level
from clipes_core.errors import StageError, WorkerError

Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerSlot:
    """Where one worker process computes.

    Attributes:
        device: cpu, cuda:0, mps.
        threads: of the processor it may use.
    """

    device: str
    threads: int


PROCESS_STATUS = Path("/proc/self/status")
CONTEXT = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork


class WorkerPool:
    """One process per slot. A call takes an idle one, so a slot does one thing at a time.

    Args:
        slots: where the processes compute.
        counters: of rows, which this pool adds its slots to.
    """

    def __init__(self, slots: Sequence[WorkerSlot], counters: "Counters") -> None:
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

    def _new_pool(self, slot: WorkerSlot, counters: "SlotCounters") -> ProcessPool:
        initargs = (slot, counters, shown_level())
        return ProcessPool(max_workers=1, initializer=_start_worker, initargs=initargs, context=CONTEXT)

    def _result(self, future: ProcessFuture) -> Any:
        self._running.add(future)
        try:
            if self._closed:
                future.cancel()
            return future.result()
        finally:
            self._running.discard(future)


class Counters:
    """How many rows the workers of this run have computed per stage: the sum over their slots."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._slots: list[SlotCounters] = []

    def of_slot(self) -> "SlotCounters":
        """The counters of one more slot; its workers, one after the other, count there."""
        self._slots.append(SlotCounters(self._stages))
        return self._slots[-1]

    def count(self, stage: str) -> int:
        """Rows so far."""
        return sum(slot.count(stage) for slot in self._slots)

    def reset(self, stage: str) -> None:
        """Begin anew with a stage, while no worker is on it."""
        for slot in self._slots:
            slot.reset(stage)


class SlotCounters:
    """How many rows the workers of one slot have computed per stage, shared with the parent.

    Without a lock: only one process writes, and one that is killed in the middle leaves nobody waiting.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._rows = {stage: CONTEXT.RawValue("q", 0) for stage in stages}

    def add(self, stage: str, rows: int = 1) -> None:
        """Count rows."""
        self._rows[stage].value += rows

    def reset(self, stage: str) -> None:
        """Begin anew, while no worker counts."""
        self._rows[stage].value = 0

    def count(self, stage: str) -> int:
        """Rows so far."""
        return self._rows[stage].value


@contextmanager
def worker_pool(slots: Sequence[WorkerSlot], counters: Counters) -> Iterator[WorkerPool]:
    """A pool that is closed at the end of the block."""
    pool = WorkerPool(slots, counters)
    try:
        yield pool
    finally:
        pool.close()


class Worker:
    """What a worker process knows of itself."""

    def __init__(self, slot: WorkerSlot, counters: SlotCounters) -> None:
        self.slot, self.counters = slot, counters

    @property
    def name(self) -> str:
        """device:pid."""
        return f"{self.slot.device}:{os.getpid()}"

    @property
    def peak_memory_mib(self) -> int:
        """The most resident memory this process has had."""
        if PROCESS_STATUS.exists():  # on Linux ru_maxrss of a spawned process begins at its parent's
            lines = PROCESS_STATUS.read_text().splitlines()
            return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM:"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak >> (20 if sys.platform == "darwin" else 10)


def current_worker() -> Worker:
    """The worker that this process is.

    Raises:
        RuntimeError: this process is none.
    """
    if _worker is None:
        raise RuntimeError("only worker processes have a device; call through WorkerPool.run")
    return _worker


_worker: Worker | None = None  # one per process, set once when it starts


def _start_worker(slot: WorkerSlot, counters: SlotCounters, log_level: int) -> None:
    global _worker
    _worker = Worker(slot, counters)
    show_log(log_level)
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(slot.threads)
    os.environ["OMP_WAIT_POLICY"] = "passive"  # a thread that waits leaves its core to the other workers


def _end_with_parent() -> None:
    """A killed parent cannot end its workers; they end themselves."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
