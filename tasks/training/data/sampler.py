"""The sampler, which decides which samples a process loads."""

from collections.abc import Iterator, Sized
from itertools import count

from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Yields the indices that this process loads, without end: rank, rank + world size, rank + 2 * world size, ...

    The indices are draws, that is, numbers of samples in the whole training run; see `PseudoMaskDataset`. In each
    iteration, the processes together load the next draws. The draws of an iteration depend only on the number of the
    iteration and on the total batch size. They do not depend on the number of processes or on interruptions.

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
        """Start after the draws of earlier attempts, without loading them; MMEngine calls this method when it resumes.

        Args:
            num_samples: number of samples per process in all earlier iterations of the training, at least 0.

        Raises:
            ValueError: `num_samples` is negative.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must be at least 0, got {num_samples}")
        self._skipped = num_samples
