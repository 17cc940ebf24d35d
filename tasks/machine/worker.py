"""What a worker process knows about itself, and the row counters it shares with its parent."""

import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import parent_process
from pathlib import Path

from clipes.tasks.machine.log import show_log

PROCESS_STATUS = Path("/proc/self/status")


CONTEXT = multiprocessing.get_context("spawn")  # CUDA and threads do not survive a fork


@dataclass(frozen=True)
class WorkerSlot:
    """Where one worker process computes.

    Attributes:
        device: cpu, cuda:0, mps.
        threads: of the processor it may use.
    """

    device: str
    threads: int


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


@contextmanager
def acting_as_worker(slot: WorkerSlot, counters: SlotCounters) -> Iterator[None]:
    """Let this process be a worker for the block, one block at a time."""
    global _worker
    _worker = Worker(slot, counters)
    try:
        yield
    finally:
        _worker = None


def start_worker(slot: WorkerSlot, counters: SlotCounters, log_level: int) -> None:
    """Set up a worker process: its slot, counters and log, and its end with the parent's."""
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
