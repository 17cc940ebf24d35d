"""Group photos of the same size into batches that fit into the memory of a device."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.machine.devices import token_budget
from clipes.tasks.machine.worker_state import current_worker
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.execution import DECODE_MEMORY_MIB
from clipes_core.device import Job, Stream, finish
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.preprocessing import patch_grid
from clipes_core.views import PhotoViews, Viewer

# The most that loaded photos may be that wait in incomplete batches, over all sizes together: their number and memory.
PHOTOS_WAITING, BYTES_WAITING = 64, 1 << 30

Loaded = tuple[Photo, LoadedPhoto[Any]]  # with its image, or with its views
Result = TypeVar("Result")


class Batches:
    """Collects photos of the same size into batches.

    Args:
        token_budget: largest number of patches (CLIP's tokens) in a batch. A photo with more patches is a batch of its
            own.
        patch_size: side of a patch [px].
    """

    def __init__(self, token_budget: int, patch_size: int) -> None:
        self._budget, self._patch_size = token_budget, patch_size
        self._waiting: dict[tuple[int, int], list[Loaded]] = {}

    def add(self, photo: Photo, loaded: LoadedPhoto[Any]) -> list[Loaded] | None:
        """Add a photo to the batch of its size, and return a batch if one must be computed now.

        Returns:
            The batch with this photo, if one more photo of this size would exceed the token budget. Otherwise, if
            PHOTOS_WAITING photos or BYTES_WAITING bytes are waiting, the largest batch. None in all other cases.
        """
        size_hw = loaded.image.height, loaded.image.width
        batch = self._waiting.setdefault(size_hw, [])
        batch.append((photo, loaded))
        grid_h, grid_w = patch_grid(size_hw, self._patch_size)
        if (len(batch) + 1) * grid_h * grid_w > self._budget:
            return self._waiting.pop(size_hw)
        waiting = [*chain.from_iterable(self._waiting.values())]
        if len(waiting) >= PHOTOS_WAITING or sum(map(_memory, waiting)) >= BYTES_WAITING:
            return self._waiting.pop(max(self._waiting, key=lambda size: len(self._waiting[size])))
        return None

    def rest(self) -> Iterator[list[Loaded]]:
        """Yield the remaining photos as batches; call this after the last `add`."""
        yield from self._waiting.values()


def _memory(loaded: Loaded) -> int:
    """Return the memory of a loaded photo, or of its views [bytes]."""
    image = loaded[1].image
    return image.nbytes if isinstance(image, PhotoViews) else 4 * image.width * image.height  # PIL: 4 bytes per pixel


def compute_in_batches(
    photos: Iterable[Photo],
    config: DatasetConfig,
    patch_size: int,
    compute: Callable[[list[Loaded]], Job[Sequence[Result]]],
    viewer: Viewer | None = None,
    known: Callable[[Photo], Result | None] = lambda photo: None,
    memory_mib: int = DECODE_MEMORY_MIB,
) -> Iterator[tuple[Photo, LoadedPhoto[Any] | None, Result | PhotoError]]:
    """Load photos, group them by size into batches, and compute a result for each photo.

    The memory of the worker's device limits the size of a batch. On a GPU, several batches are in progress at once. A
    photo that does not fit into memory beside them is computed alone at the end.

    Args:
        photos: photos of a shard.
        config: settings for reading the photos.
        patch_size: side of a patch [px].
        compute: job that returns one result per photo of a batch, in the same order. It raises a PhotoError if a photo
            of the batch has no result.
        viewer: makes the views of the photos; see `load_photos`.
        known: function that returns the result of a photo that needs no computation, and None for any other photo.
        memory_mib: memory for decoding photos [MiB]; see `load_photos`.

    Yields:
        (photo, loaded photo, result) for each photo. The order can differ from that of `photos`. If a photo cannot be
        loaded, the loaded photo is None, and the result is a PhotoError. If a photo needs too much memory, or if
        `compute` raises a PhotoError for it, the result is a PhotoError.
    """
    device = current_worker().slot.device
    batches = Batches(token_budget(device), patch_size)
    stream: Stream[list[tuple[Photo, LoadedPhoto[Any], Result | PhotoError]]] = Stream(device)
    alone: list[Loaded] = []  # photos that did not fit into memory beside other batches

    def settled(
        results: list[list[tuple[Photo, LoadedPhoto[Any], Result | PhotoError]]],
    ) -> Iterator[tuple[Photo, LoadedPhoto[Any], Result | PhotoError]]:
        for photo, loaded, result in chain.from_iterable(results):
            if isinstance(result, PhotoError) and result.kind is ErrorKind.OUT_OF_MEMORY and stream.at_once > 1:
                alone.append((photo, loaded))
            else:
                yield photo, loaded, result

    for photo, loaded in load_photos(photos, config, memory_mib, viewer):
        if isinstance(loaded, PhotoError):
            yield photo, None, loaded
        elif (result := known(photo)) is not None:
            yield photo, loaded, result
        elif batch := batches.add(photo, loaded):
            yield from settled(stream.add(compute_batch(batch, compute)))
    for batch in batches.rest():
        yield from settled(stream.add(compute_batch(batch, compute)))
    yield from settled(stream.rest())
    for each in alone:
        yield from finish(compute_batch([each], compute))


def compute_batch(
    batch: list[Loaded], compute: Callable[[list[Loaded]], Job[Sequence[Result]]]
) -> Job[list[tuple[Photo, LoadedPhoto[Any], Result | PhotoError]]]:
    """Compute the results of a batch; if a batch fails for one of its photos, compute its two halves separately.

    A batch fails if it does not fit into memory, or if `compute` raises a PhotoError, which does not say for which
    photo.

    Yields:
        None, whenever `compute` waits for the device.

    Returns:
        (photo, loaded photo, result) for each photo. If a photo fails in a batch of its own, the result is the
        PhotoError, with the kind OUT_OF_MEMORY if the photo does not fit into memory.
    """
    results: Sequence[Result | PhotoError] | None
    try:
        with refuse_out_of_memory():
            results = yield from compute(batch)
    except PhotoError as error:
        results = [PhotoError(error.kind, error.reason)] if len(batch) == 1 else None
    if results is None:  # outside the except block, whose traceback would keep the failed attempt's tensors alive
        middle = len(batch) // 2
        first = yield from compute_batch(batch[:middle], compute)
        return first + (yield from compute_batch(batch[middle:], compute))
    return [(photo, loaded, result) for (photo, loaded), result in zip(batch, results, strict=True)]


@contextmanager
def refuse_out_of_memory() -> Iterator[None]:
    """Raise a PhotoError of the kind OUT_OF_MEMORY if the memory does not suffice for the `with` block."""
    try:
        yield
        return
    except (RuntimeError, MemoryError) as exc:
        if not _is_out_of_memory(exc):
            raise
        reason = str(exc)
    raise PhotoError(ErrorKind.OUT_OF_MEMORY, reason)


def _is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Return whether an error means that memory ran out.

    On the CPU, torch raises a plain RuntimeError, whose message contains the name of torch's CPU allocator.
    """
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return True
    from torch import OutOfMemoryError  # a slow import, which stages without a network do not need

    return isinstance(error, OutOfMemoryError)
