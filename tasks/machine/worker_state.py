"""The state of a worker process: its slot, its counters and its memory."""

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import parent_process
from pathlib import Path

from clipes.tasks.machine.log import show_log
from clipes.tasks.machine.row_counters import SlotCounters

POLL_SECONDS = 1.0
PROCESS_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class WorkerSlot:
    """The device and the threads of one worker process.

    Attributes:
        device: device of the worker, such as cpu, cuda:0 or mps.
        threads: number of processor threads that the worker may use.
    """

    device: str
    threads: int

    @property
    def on_cuda(self) -> bool:
        """True if the device is a CUDA GPU."""
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class NetworkWorkers:
    """What the workers that run networks compute with; it decides the keys of artifacts.

    Attributes:
        slots: device and threads of each worker.
        weights: digest of CLIP's weights on the host of the workers. If the host lacks them, another text that stands
            for them; then no key is that of an artifact in the store.
        missing: name of the weights if the host lacks them; otherwise empty. Only a plan permits missing weights.
    """

    slots: tuple[WorkerSlot, ...]
    weights: str
    missing: str = ""


class Worker:
    """The worker process in which this code runs: its slot, its counters, its name and its memory.

    Args:
        slot: device and threads of the worker.
        counters: row counters of the worker.
        node: name of the machine, if the workers of the run are on several machines; otherwise empty.

    Attributes:
        made: names of the stages of which this worker has made a shard.
    """

    def __init__(self, slot: WorkerSlot, counters: SlotCounters, node: str = "") -> None:
        self.slot, self.counters, self.node = slot, counters, node
        self.made: set[str] = set()

    @property
    def name(self) -> str:
        """The name of the worker, as device:pid or node/device:pid."""
        place = f"{self.node}/" if self.node else ""
        return f"{place}{self.slot.device}:{os.getpid()}"

    @property
    def peak_memory_mib(self) -> int:
        """The largest resident memory that this process has used so far [MiB]."""
        return peak_memory_mib()


def peak_memory_mib() -> int:
    """Return the largest resident memory that this process has used so far [MiB]."""
    if PROCESS_STATUS.exists():  # on Linux, ru_maxrss of a spawned process starts at the value of its parent
        lines = PROCESS_STATUS.read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> (20 if sys.platform == "darwin" else 10)


def current_worker() -> Worker:
    """Return the worker of this process.

    Raises:
        RuntimeError: this process is not a worker.
    """
    if _worker is None:
        raise RuntimeError("this process is not a clipes worker: call this code in a worker, or within act_as_worker")
    return _worker


_worker: Worker | None = None  # the worker of this process; start_worker and act_as_worker set it


@contextmanager
def act_as_worker(slot: WorkerSlot, counters: SlotCounters) -> Iterator[None]:
    """Make this process a worker while the `with` block runs. A process may run only one such block at a time."""
    global _worker
    _worker = Worker(slot, counters)
    try:
        yield
    finally:
        _worker = None


def start_worker(slot: WorkerSlot, counters: SlotCounters, log_level: int, node: str = "") -> None:
    """Set up this process as a worker with a slot, counters and a log. The process will end when its parent ends.

    Args:
        slot: device and threads of the worker.
        counters: row counters of the worker.
        log_level: lowest level that the worker logs.
        node: name of the machine, if the workers of the run are on several machines; otherwise empty.
    """
    global _worker
    _worker = Worker(slot, counters, node)
    show_log(log_level)
    end_with_parent()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(slot.threads)
    os.environ["OMP_WAIT_POLICY"] = "passive"  # so that a waiting thread leaves its core to other workers


def end_with_parent() -> None:
    """Start a thread that waits until the parent process has ended, and then ends this process.

    The thread is needed because a parent process that is killed cannot end its workers.
    """
    threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True, name="end-with-parent").start()


def _wait_for_parent(pid: int) -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    else:  # this process was not started by multiprocessing
        while os.getppid() == pid:
            time.sleep(POLL_SECONDS)
    os._exit(1)
