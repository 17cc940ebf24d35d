"""Move data to a device and back, and overlap the work of the host with the work of the device.

A GPU works through a queue, and the host adds to this queue without waiting. The host must therefore read a result only
after it has queued the next work. A job is a generator that yields whenever it needs such a result. `Stream` then lets
other jobs queue their work. On a CPU, the same code runs one job after the other, and `upload` and `download` copy
nothing.
"""

from collections.abc import Callable, Generator, Iterator
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
    """

    def __init__(self, device: str) -> None:
        self._most = JOBS_AT_ONCE if device.startswith("cuda") else 1
        self._running: list[Job[Result]] = []  # the oldest job first

    def add(self, job: Job[Result]) -> Iterator[Result]:
        """Start a job, and yield the results of jobs that have ended. An error of a job is raised here."""
        self._running.append(job)
        yield from self._step()
        while len(self._running) >= self._most:
            yield from self._step()

    def rest(self) -> Iterator[Result]:
        """Yield the results of the jobs that are still running."""
        while self._running:
            yield from self._step()

    def _step(self) -> Iterator[Result]:
        """Continue each job until it needs a result of the device. The newest job queues its work first."""
        ended: list[Result] = []
        for job in self._running[::-1]:
            try:
                next(job)
            except StopIteration as end:
                self._running.remove(job)
                ended.append(end.value)
        return iter(ended)


def finish(job: Job[Result]) -> Result:
    """Run a single job, and return its result."""
    stream: Stream[Result] = Stream("cpu")
    return next(stream.add(job))


def with_float64(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return a tensor on a device that supports float64: the tensor itself, or for mps its copy on the CPU."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor
