"""The sampler of the training data, which chooses the samples that a process loads."""

from collections.abc import Iterator, Sized
from itertools import count

from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Yields the indices of the samples that this process loads: rank, rank + world size, rank + 2 * world size, ...

    The sequence has no end. Its indices are draws, which `PseudoMaskDataset` explains. With the same total batch size,
    the processes together always load the same draws in an iteration. The number of processes and interruptions of the
    training have no effect on these draws.

    Args:
        dataset: data set whose samples are loaded.
        seed: ignored, because the data set decides the order; MMEngine passes a seed to every sampler.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self._rank, self._world_size = get_dist_info()
        self._dataset, self._skipped = dataset, 0

    def __iter__(self) -> Iterator[int]:
        return count(self._rank + self._skipped * self._world_size, self._world_size)

    def __len__(self) -> int:
        return len(self._dataset)

    def skip(self, num_samples: int) -> None:
        """Skip the samples of earlier iterations. MMEngine calls this method when a training run resumes.

        Args:
            num_samples: number of samples that each process has loaded in all earlier iterations, at least 0.

        Raises:
            ValueError: `num_samples` is negative.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must be at least 0, got {num_samples}")
        self._skipped = num_samples
