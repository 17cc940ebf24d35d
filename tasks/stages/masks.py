"""The stage `masks`: the pseudo mask and the confidence map of each photo."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from clipes.tasks.inputs.photos import LoadedPhoto, Photo
from clipes.tasks.machine.devices import crf_workers
from clipes.tasks.machine.opencv_threads import limit_opencv_threads
from clipes.tasks.machine.worker_state import current_worker
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, check_upstream, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage, Summaries, Workers
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.columns.cams import stored_cams
from clipes_core.config.run import RunConfig
from clipes_core.errors import ErrorKind, PhotoError

if TYPE_CHECKING:
    from clipes.tasks.inputs.batches import Loaded
    from clipes_core.device import Job
    from clipes_core.pseudo_mask import PseudoMask

# Side of a square [px]. A batch has at most 2048 squares per GiB of free GPU memory, that is 2 KiB per pixel. This
# suffices for photos with 13 classes, even if they are pure noise; a batch that does not fit is halved.
BATCH_CELL = 16

logger = logging.getLogger(__name__)

CAMS_COLUMNS = (
    "image_id",
    "status",
    "error",
    "height",
    "width",
    "class_ids",
    "grid_h",
    "grid_w",
    "refined_cam",
    "refined_residual",
)


@dataclass(frozen=True, kw_only=True)
class MasksRow(PhotoRow):
    """A photo's pseudo mask.

    Attributes:
        class_ids: data set ids of the photo's K classes.
        mask_png: palette PNG of data set ids; 0 is background, and 255 does not occur.
        confidence_png: 8-bit grey PNG of round(255 c), where c is the confidence in [0, 1].
        class_pixels: (1 + K,) number of pixels of the background, then of each class in `class_ids`.
        confidence_histogram: (256,) number of pixels per level of `confidence_png`.
        crf_changed: share of the pixels whose class the CRF changed, in [0, 1]. None if the mask was made without a CRF
            or by an earlier version of clipes. No stage reads it, so it is no part of the row's digest.
    """

    class_ids: tuple[int, ...] = column("list<int16>")
    mask_png: bytes = column("binary", b"")
    confidence_png: bytes = column("binary", b"")
    class_pixels: tuple[int, ...] = column("list<int64>", ())
    confidence_histogram: tuple[int, ...] = column("list<int64>", ())
    crf_changed: float | None = column("float64", None, in_digest=False)


class Masks(Stage):
    """Computes pseudo masks from refined CAMs."""

    name, version = "masks", 1
    upstream = (CAMS,)
    row, kind, workers = MasksRow, PHOTO_ROWS, "cpu"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return {
            "crf": inputs.config.crf.key_fields(),
            "confidence": inputs.config.confidence.model_dump(),
            "palette": inputs.vocabulary.palette,
            "photo": inputs.photo_settings,
        }

    @override
    def workers_for(self, config: RunConfig, devices: Mapping[str, Sequence[str]]) -> Workers:
        """Return the kind of worker that computes the CRF."""
        return crf_workers(config.crf, devices)

    @override
    def prepare(self, config: RunConfig, workers: Workers) -> None:
        """Prepare the CRF of CPU workers."""
        from clipes_core.dense_crf import prepare_crf

        if config.crf.enabled and workers == "cpu":
            prepare_crf(config.crf, logger.info, logger.warning)

    @override
    def summary(self) -> Summaries:
        from clipes.tasks.stages.columns.confidence import ConfidenceSummary
        from clipes.tasks.stages.columns.mask_facts import MaskFactsSummary

        return Summaries(ConfidenceSummary(), MaskFactsSummary())

    @override
    def rows(self, job: ShardJob) -> Iterator[MasksRow]:
        """Compute the pseudo masks of a shard's photos from their refined CAMs.

        A worker on a GPU computes photos of one size together, and a CPU worker one photo after the other.
        """
        from clipes.tasks.inputs.batches import compute_in_batches

        limit_opencv_threads()
        photos = {photo.image_id: photo for photo in job.photos}
        palette = np.asarray(job.vocabulary.palette, dtype=np.uint8)
        cams: dict[str, Mapping[str, Any]] = {}  # image_id -> CAMs, only of the photos that are loaded but not computed
        without_cams: list[MasksRow] = []

        def photos_with_cams() -> Iterator[Photo]:
            for row in job.upstream_rows(CAMS, CAMS_COLUMNS):
                photo = photos[row["image_id"]]
                try:
                    check_upstream(row, "CAMs")
                except PhotoError as error:
                    without_cams.append(MasksRow.failed(photo.image_id, error, class_ids=photo.class_ids))
                else:
                    cams[photo.image_id] = row
                    yield photo

        config, slot = job.config, current_worker().slot
        compute = partial(batch_masks, config, cams, slot.device if slot.on_cuda else None)
        memory_mib = config.execution.decode_memory_mib
        found = compute_in_batches(photos_with_cams(), config.dataset, BATCH_CELL, compute, memory_mib=memory_mib)
        for photo, loaded, made in found:
            row = cams.pop(photo.image_id)
            if isinstance(made, PhotoError):
                yield MasksRow.failed(photo.image_id, made, class_ids=photo.class_ids)
                continue
            assert loaded is not None  # because the photo has a result
            yield _row(row, loaded, made, palette)
        yield from without_cams


MASKS = Masks()


def batch_masks(
    config: RunConfig, cams: Mapping[str, Mapping[str, Any]], device: str | None, batch: "list[Loaded]"
) -> "Job[list[PseudoMask]]":
    """Compute the pseudo masks of a batch of photos of the same size.

    Args:
        config: configuration of the run.
        cams: image_id -> row of the stage `cams`.
        device: torch device of the CRF; None for a processor.
        batch: the photos.

    Yields:
        None, whenever it would wait for the device.

    Raises:
        PhotoError: a photo has no pseudo mask, or its size has changed since its CAMs were made.
    """
    from clipes_core.pseudo_mask import pseudo_masks

    photos = []
    for photo, loaded in batch:
        row = cams[photo.image_id]
        _check_size(photo, row, loaded)
        class_ids = np.asarray(row["class_ids"], dtype=np.int64)
        photos.append((np.asarray(loaded.image), stored_cams(row, "refined_cam"), class_ids))
    return (yield from pseudo_masks(photos, config.crf, config.confidence, device))


def _check_size(photo: Photo, row: Mapping[str, Any], loaded: LoadedPhoto[Any]) -> None:
    if loaded.size_hw != (row["height"], row["width"]):
        (height, width), before = loaded.size_hw, f"{row['width']}x{row['height']}"
        reason = f"{photo.uri} is {width}x{height} now, and was {before} when its CAMs were made: run again"
        raise PhotoError(ErrorKind.UNREADABLE, reason)


def _row(row: Mapping[str, Any], loaded: LoadedPhoto, made: "PseudoMask", palette: np.ndarray) -> MasksRow:
    from clipes.tasks.inputs.pngs import grey_png, palette_png, resized_ids
    from clipes_core.confidence import histogram

    # The mask of a reduced photo is enlarged to the size of the photo itself.
    mask, confidence = (resized_ids(levels, loaded.size_hw) for levels in (made.mask, made.confidence))
    return MasksRow(
        image_id=row["image_id"],
        class_ids=tuple(row["class_ids"]),
        mask_png=palette_png(mask, palette),
        confidence_png=grey_png(confidence),
        class_pixels=tuple(int((mask == class_id).sum()) for class_id in (0, *row["class_ids"])),
        confidence_histogram=tuple(histogram(confidence).tolist()),
        crf_changed=made.crf_changed,
    )
