"""The sampler: which samples a process loads, independent of the number of processes and of interruptions."""

from collections.abc import Iterator, Sized
from itertools import count

from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Yields the draws of `PseudoMaskDataset` without end: rank, rank + world size, rank + 2 * world size, ...

    Together, the processes load the next draws in each iteration: the same ones for any number of processes, as long
    as their batches add up to the same size.

    Args:
        dataset: to draw from.
        seed: ignored because the data set decides the order; MMEngine passes one to every sampler.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self._rank, self._world_size = get_dist_info()
        self._dataset, self._skipped = dataset, 0

    def __iter__(self) -> Iterator[int]:
        return count(self._rank + self._skipped * self._world_size, self._world_size)

    def __len__(self) -> int:
        return len(self._dataset)

    def skip(self, num_samples: int) -> None:
        """Start after some draws without loading them; MMEngine calls this when it resumes.

        Args:
            num_samples: how many draws this process has loaded since the start of the training, at least 0.

        Raises:
            ValueError: a negative number.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must be at least 0, got {num_samples}")
        self._skipped = num_samples
