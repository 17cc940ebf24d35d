"""Which samples a process loads, and in which order: the same in all, whatever their number, resumed or not."""

from collections.abc import Iterator, Sized
from itertools import count

from mmengine.dist import get_dist_info
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class DrawSampler(Sampler[int]):
    """Counts the draws of `PseudoMaskDataset` without end: each process takes every world-size-th, from its rank on.

    So the batches that the processes take in a step are together the next draws, and the same ones for any number of
    processes with the same batch in all.

    Args:
        dataset: what is drawn from.
        seed: not used, MMEngine hands one to every sampler; the order is the data set's.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        self._rank, self._world_size = get_dist_info()
        self._dataset, self._skipped = dataset, 0

    def __iter__(self) -> Iterator[int]:
        return count(self._rank + self._skipped * self._world_size, self._world_size)

    def __len__(self) -> int:
        return len(self._dataset)

    def skip(self, num_samples: int) -> None:
        """Begin after some draws, as MMEngine asks for when it resumes; it costs nothing.

        Args:
            num_samples: how many this process has taken since the training began, at least 0.

        Raises:
            ValueError: a negative number.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples must be at least 0, got {num_samples}")
        self._skipped = num_samples
