"""Move data to a device and back, and overlap the work of the host with the work of the device.

A GPU works through a queue, and the host adds to this queue without waiting. The host must therefore read a result only
after it has queued the next work. A job is a generator that yields whenever it needs such a result. `Stream` then lets
other jobs queue their work. On a CPU, the same code runs one job after the other, and `upload` and `download` copy
nothing.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:  # stages without a network run jobs, too, and do not need this slow import
    import torch

JOBS_AT_ONCE = 3  # of three jobs, one computes on the device, one on the host, and one waits in the queue

Result = TypeVar("Result")
Job = Generator[None, None, Result]


def upload(array: np.ndarray, device: "torch.device") -> "torch.Tensor":
    """Queue the copy of an array to a device. On a CPU, the tensor shares its memory with the array.

    Args:
        array: any array of numbers. A GPU gets its values through pinned memory, so the host does not wait.
        device: target.
    """
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def download(*tensors: "torch.Tensor") -> Callable[[], tuple[np.ndarray, ...]]:
    """Queue the copy of tensors to the host.

    Args:
        tensors: tensors on one device, without gradients.

    Returns:
        A function that waits until the copies are complete, and returns one array per tensor. For a tensor on a CPU,
        the array shares its memory with the tensor.
    """
    import torch

    if not tensors[0].is_cuda:
        arrays = tuple(tensor.cpu().numpy() for tensor in tensors)
        return lambda: arrays
    copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(tensors[0].device))

    def wait() -> tuple[np.ndarray, ...]:
        copied.synchronize()
        return tuple(copy.numpy() for copy in copies)

    return wait


class Stream(Generic[Result]):
    """Runs jobs so that a GPU always has work: up to `JOBS_AT_ONCE` jobs at once, or one at a time on other devices.

    Args:
        device: name of the jobs' device.

    Attributes:
        at_once: number of jobs that run at once.
    """

    def __init__(self, device: str) -> None:
        self.at_once = JOBS_AT_ONCE if device.startswith("cuda") else 1
        self._running: list[Job[Result]] = []  # the oldest job first

    def add(self, job: Job[Result]) -> list[Result]:
        """Start a job, and return the results of jobs that have ended. An error of a job is raised here."""
        self._running.append(job)
        ended = self._step()
        while len(self._running) >= self.at_once:
            ended += self._step()
        return ended

    def rest(self) -> list[Result]:
        """Return the results of the jobs that are still running."""
        ended: list[Result] = []
        while self._running:
            ended += self._step()
        return ended

    def _step(self) -> list[Result]:
        """Resume each job once, the newest first, so that its work is queued before the host waits for an older job."""
        ended: list[Result] = []
        for job in self._running[::-1]:
            try:
                next(job)
            except StopIteration as end:
                self._running.remove(job)
                ended.append(end.value)
            except BaseException:
                self._running.remove(job)
                raise
        return ended


def finish(job: Job[Result]) -> Result:
    """Run a single job, and return its result."""
    stream: Stream[Result] = Stream("cpu")
    (result,) = stream.add(job)
    return result


def with_float64(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return a tensor on a device that supports float64: the tensor itself, or for mps its copy on the CPU."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor
