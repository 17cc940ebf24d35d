"""The sampler of the training data. It chooses the samples that each process loads."""

from collections.abc import Iterator, Sized
from itertools import count

from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Yields the indices of the samples that this process loads: rank, rank + world size, rank + 2 * world size, ...

    The sequence has no end. `PseudoMaskDataset` calls these indices draws. Only the total batch size determines which
    draws the processes together load in an iteration. The number of processes does not matter, and an interruption of
    the training does not matter either.

    Args:
        dataset: data set whose samples are loaded.
        seed: ignored. MMEngine passes a seed to every sampler, but here the data set decides the order of the photos.
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
            num_samples: number of samples that one process has loaded in all earlier iterations. It must be at least 0.

        Raises:
            ValueError: `num_samples` is negative.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must be at least 0, got {num_samples}")
        self._skipped = num_samples
