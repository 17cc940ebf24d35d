"""Load batches in loading processes, and raise the errors of these processes in the training process."""

import sys
from collections.abc import Sequence
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.sampler import DrawSampler
from clipes_core.errors import ClipesError

MAX_WORKERS = 8


def training_loader(
    dataset: PseudoMaskDataset, batch_size: int, slot: WorkerSlot, workers: int | str
) -> DataLoader[Any]:
    """Return a loader that yields batches endlessly.

    If a sample of a batch cannot be loaded, the loader yields the error, a ClipesError, in place of the batch.
    `LoadErrorHook` raises this error in the training process.

    Args:
        dataset: data set to load from.
        batch_size: number of photos in a batch. Each training process loads its own batches.
        slot: device and threads of this process.
        workers: number of loading processes. With 0, this process loads the photos itself. auto: 0 on a CPU; on other
            devices, one loading process per thread in `slot`, but at most 8.
    """
    auto = 0 if slot.device == "cpu" else min(MAX_WORKERS, slot.threads)
    count = auto if workers == "auto" else int(workers)
    return DataLoader(
        _ErrorsAsSamples(dataset),
        batch_size=batch_size,
        sampler=DrawSampler(dataset),
        num_workers=count,
        collate_fn=_collated,
        pin_memory=slot.device.startswith("cuda"),
        persistent_workers=count > 0,
        multiprocessing_context="fork" if count and sys.platform == "linux" else None,
    )


class LoadErrorHook(Hook):
    """Raises the errors of the loading processes in the training process."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """If the loader yielded an error instead of a batch, raise this error.

        Raises:
            ClipesError: the error that the data set raised.
        """
        if isinstance(data_batch, ClipesError):
            raise data_batch


class _ErrorsAsSamples(Dataset[Any]):
    """Wraps a data set, and returns a ClipesError in place of a sample that cannot be loaded.

    A returned error keeps its type. A raised error might not: torch may turn it into a RuntimeError on the way from the
    loading process to the training process.
    """

    def __init__(self, dataset: PseudoMaskDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, draw: int) -> dict[str, Any] | ClipesError:
        try:
            return self._dataset[draw]
        except ClipesError as exc:
            return exc


def _collated(samples: Sequence[Any]) -> Any:
    return next((sample for sample in samples if isinstance(sample, ClipesError)), None) or pseudo_collate(samples)
