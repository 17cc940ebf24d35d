"""Group photos of the same size into batches that fit into the memory of a device."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.machine.devices import token_budget
from clipes.tasks.machine.worker_state import current_worker
from clipes_core.config.run import DatasetConfig
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.preprocessing import patch_grid

PHOTOS_WAITING = 64  # upper limit on the photos in all batches together, however many sizes a shard has

Loaded = tuple[Photo, LoadedPhoto]
Result = TypeVar("Result")


class Batches:
    """Collects photos of the same size into batches.

    Args:
        token_budget: largest number of patches (tokens) in a batch of several photos.
        patch_size: side of a patch [px].
    """

    def __init__(self, token_budget: int, patch_size: int) -> None:
        self._budget, self._patch_size = token_budget, patch_size
        self._waiting: dict[tuple[int, int], list[Loaded]] = {}

    def add(self, photo: Photo, loaded: LoadedPhoto) -> list[Loaded] | None:
        """Add a photo to the batch of its size; return a batch that must be computed now, or None if there is none.

        If the photo's own batch is full, that batch is returned. If it is not full, but PHOTOS_WAITING photos are
        waiting, the largest batch is returned.
        """
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
        """Yield the batches that are still waiting."""
        yield from self._waiting.values()


def compute_in_batches(
    photos: Iterable[Photo],
    config: DatasetConfig,
    patch_size: int,
    compute: Callable[[list[Loaded]], Sequence[Result]],
    known: Callable[[Photo], Result | None] = lambda photo: None,
) -> Iterator[tuple[Photo, LoadedPhoto | None, Result | PhotoError]]:
    """Load photos, and compute a result for each of them, in batches of photos of the same size.

    The batches fit into the memory of the worker's device.

    Args:
        photos: photos of a shard.
        config: settings for reading the photos.
        patch_size: side of a patch [px].
        compute: function that returns one result per photo of a batch, in the same order.
        known: function that returns the result of a photo that needs no computation, and None for any other photo.

    Yields:
        Each photo, its pixels and its result, in any order. If the photo cannot be used, an error takes the place of
        the result. The pixels are None if the photo could not be loaded.
    """
    batches = Batches(token_budget(current_worker().slot.device), patch_size)
    for photo, loaded in load_photos(photos, config):
        if isinstance(loaded, PhotoError):
            yield photo, None, loaded
        elif (result := known(photo)) is not None:
            yield photo, loaded, result
        elif batch := batches.add(photo, loaded):
            yield from compute_batch(batch, compute)
    for batch in batches.rest():
        yield from compute_batch(batch, compute)


def compute_batch(
    batch: list[Loaded], compute: Callable[[list[Loaded]], Sequence[Result]]
) -> Iterator[tuple[Photo, LoadedPhoto, Result | PhotoError]]:
    """Compute the results of a batch; if the batch does not fit into memory, compute its two halves separately.

    Yields:
        Each photo, its pixels and its result. If a photo does not fit into memory even alone, an error of kind
        OUT_OF_MEMORY takes the place of the result.
    """
    results: Sequence[Result | PhotoError] | None
    try:
        results = compute(batch)
    except (RuntimeError, MemoryError) as exc:
        if not _is_out_of_memory(exc):
            raise
        results = [PhotoError(ErrorKind.OUT_OF_MEMORY, str(exc))] if len(batch) == 1 else None
    if results is None:  # not in the except block, where the traceback would keep the memory of the failed attempt
        middle = len(batch) // 2
        yield from compute_batch(batch[:middle], compute)
        yield from compute_batch(batch[middle:], compute)
        return
    for (photo, loaded), result in zip(batch, results, strict=True):
        yield photo, loaded, result


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Return whether an error says that memory ran out.

    On the CPU, torch has no exception type for this, so the message is searched for the name of torch's allocator.
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
