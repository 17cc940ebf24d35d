"""Check that the store can be written, and estimate the space that a run needs in it."""

from collections.abc import Iterator

from clipes.tasks.commands.finding import Finding
from clipes.tasks.storage.files import check_writable, free_bytes
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import RunConfig

# Sizes of the rows of a photo, measured on 24 photos of VOC with 500 x 375 pixels [bytes]. Those of CAMs and masks grow
# with the number of pixels: for 12 photos that were reduced to 1024 x 768 pixels, they were 23 and 179 kB.
CAM_BYTES, MASK_BYTES, SCORE_BYTES = 10_800, 54_800, 3_900
PIXELS = 500 * 375
SOURCE = (
    "as measured on VOC: 55 kB of masks and 11 kB of CAMs per photo of 500x375 pixels; clipes estimate measures your "
    "photos"
)
PARAMETER_BYTES = 4
KEPT_WEIGHTS = 2  # the best and the last weights, in addition to the checkpoints
CHECKPOINT_COPIES = 3  # a checkpoint has the weights and up to two moments of the optimizer


def check_store_access(config: RunConfig) -> Iterator[Finding]:
    """Write a small file to the store, and remove it.

    Raises:
        StorageError: the store cannot be written.
        TransientError: the server of the store does not answer.
    """
    check_writable(config.store)
    yield Finding("store", True, f"{config.store} can be written")


def needed_bytes(config: RunConfig, photos: int, pixels: float, with_truth: int, parameters: int) -> int:
    """Estimate the size of the artifacts of a run [bytes].

    Args:
        config: configuration of the run.
        photos: number of photos.
        pixels: mean number of pixels of a photo, after its reduction to `dataset.max_side`.
        with_truth: number of photos with a true mask.
        parameters: number of parameters of the segmenter; 0 if the run trains none.
    """
    per_photo = (CAM_BYTES + MASK_BYTES) * pixels / PIXELS
    copies = CHECKPOINT_COPIES * config.train.keep_checkpoints + KEPT_WEIGHTS
    return round(photos * per_photo + with_truth * SCORE_BYTES + parameters * PARAMETER_BYTES * copies)


def check_space(config: RunConfig, needed: int) -> Iterator[Finding]:
    """Compare the space that a run needs with the free space of the disk of the store."""
    free = free_bytes(config.store)
    estimate = f"a new run needs about {_size(needed)}"
    if free is None:
        yield Finding("disk", True, f"{estimate} ({SOURCE}); the free space of {config.store} is not known")
    elif needed <= free:
        yield Finding("disk", True, f"{estimate}, and {_size(free)} are free ({SOURCE})")
    else:
        resumes = RunFiles(config.store, config.name).find("run.json") is not None
        yield Finding(
            "disk",
            None if resumes else False,
            f"{estimate}, but only {_size(free)} are free ({SOURCE}): free space, or name another store with --store"
            + ("; the run has begun already, so less may suffice" if resumes else ""),
        )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
