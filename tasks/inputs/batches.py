"""Photos of one size in batches that fit into a device's memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.machine.devices import token_budget
from clipes.tasks.machine.worker import current_worker
from clipes_core.config.run import DatasetConfig
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.photo import patch_grid

PHOTOS_WAITING = 64  # of all sizes together; bounds a worker's memory however many sizes a shard has

Loaded = tuple[Photo, LoadedPhoto]
Result = TypeVar("Result")


class Batches:
    """Gathers photos of one size until their patches fill a device's budget, or too many photos wait."""

    def __init__(self, token_budget: int, patch_size: int) -> None:
        self._budget, self._patch_size = token_budget, patch_size
        self._waiting: dict[tuple[int, int], list[Loaded]] = {}

    def add(self, photo: Photo, loaded: LoadedPhoto) -> list[Loaded] | None:
        """Take a photo; a batch that is full comes back, or the largest one when PHOTOS_WAITING is reached."""
        size = loaded.image.size
        batch = self._waiting.setdefault(size, [])
        batch.append((photo, loaded))
        grid_h, grid_w = patch_grid((loaded.image.height, loaded.image.width), self._patch_size)
        if (len(batch) + 1) * grid_h * grid_w > self._budget:
            return self._waiting.pop(size)
        if sum(map(len, self._waiting.values())) >= PHOTOS_WAITING:
            return self._waiting.pop(max(self._waiting, key=lambda waiting: len(self._waiting[waiting])))
        return None

    def rest(self) -> Iterator[list[Loaded]]:
        """The batches that did not fill up."""
        yield from self._waiting.values()


def in_halves(
    batch: list[Loaded], compute: Callable[[list[Loaded]], Sequence[Result]]
) -> Iterator[tuple[Photo, LoadedPhoto, Result | PhotoError]]:
    """Compute a batch; one that does not fit into memory is halved.

    Yields:
        Each photo with its result, or with OUT_OF_MEMORY where it does not fit alone.
    """
    made: Sequence[Result | PhotoError] | None
    try:
        made = compute(batch)
    except (RuntimeError, MemoryError) as exc:
        if not _lacks_memory(exc):
            raise
        made = [PhotoError(ErrorKind.OUT_OF_MEMORY, str(exc))] if len(batch) == 1 else None
    if made is None:
        middle = len(batch) // 2
        yield from in_halves(batch[:middle], compute)
        yield from in_halves(batch[middle:], compute)
        return
    for (photo, loaded), result in zip(batch, made, strict=True):
        yield photo, loaded, result


def in_batches(
    photos: Iterable[Photo], config: DatasetConfig, patch_size: int, compute: Callable[[list[Loaded]], Sequence[Result]]
) -> Iterator[tuple[Photo, LoadedPhoto | None, Result | PhotoError]]:
    """Load photos and compute those of one size together, as many as the worker's device has room for.

    Yields:
        Each photo with what was loaded and its result, or with what is wrong with it.
    """
    batches = Batches(token_budget(current_worker().slot.device), patch_size)
    for photo, loaded in load_photos(photos, config):
        if isinstance(loaded, PhotoError):
            yield photo, None, loaded
        elif batch := batches.add(photo, loaded):
            yield from in_halves(batch, compute)
    for batch in batches.rest():
        yield from in_halves(batch, compute)


def _lacks_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether memory ran out; on the CPU torch has no type for that, only the words of its allocator."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
