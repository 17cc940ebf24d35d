"""The photos of a training in batches, loaded beside it by processes of their own, whose errors arrive as they are."""

import sys
from collections.abc import Sequence
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from clipes.tasks.machine.worker import WorkerSlot
from clipes.tasks.training.data.dataset import PseudoMaskDataset
from clipes.tasks.training.data.sampler import DrawSampler
from clipes_core.errors import ClipesError

MOST_LOADERS = 8


def training_loader(
    dataset: PseudoMaskDataset, batch_size: int, slot: WorkerSlot, workers: int | str
) -> DataLoader[Any]:
    """Batches without end; use it with `LoadedHook`.

    Args:
        dataset: what is drawn from.
        batch_size: of this process.
        slot: where this process computes.
        workers: processes that load; 0 loads in this one. auto: as many as the device has cores, on a CPU none.
    """
    auto = 0 if slot.device == "cpu" else min(MOST_LOADERS, slot.threads)
    count = auto if workers == "auto" else int(workers)
    return DataLoader(
        _Carrier(dataset),
        batch_size=batch_size,
        sampler=DrawSampler(dataset),
        num_workers=count,
        collate_fn=_collated,
        pin_memory=slot.device.startswith("cuda"),
        persistent_workers=count > 0,
        multiprocessing_context="fork" if count and sys.platform == "linux" else None,
    )


class LoadedHook(Hook):
    """Raises what a loading process has met."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The batch is there.

        Raises:
            ClipesError: as the data set has raised it.
        """
        if isinstance(data_batch, ClipesError):
            raise data_batch


class _Carrier(Dataset[Any]):
    """Gives errors as samples: torch would raise them as a RuntimeError, and what they hold would be lost."""

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
