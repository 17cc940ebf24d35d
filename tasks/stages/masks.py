"""Stage masks: pseudo mask and confidence map of each photo."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.inputs.pngs import grey_png, palette_png, resized_ids
from clipes.tasks.machine.worker import current_worker
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.stages.cam_rows import stored_cams
from clipes_core.confidence import histogram
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.pseudo_mask import PseudoMask, pseudo_mask

CAMS_COLUMNS = (
    *("image_id", "status", "error", "height", "width", "class_ids"),
    *("grid_h", "grid_w", "refined_cam", "refined_residual"),
)


@dataclass(frozen=True)
class MasksRow:
    """A photo's pseudo mask as the artifact holds it; see the schema in tasks/stages.py."""

    image_id: str
    class_ids: tuple[int, ...]
    status: str = "ok"
    error: str | None = None
    error_kind: str | None = None
    mask_png: bytes = b""
    confidence_png: bytes = b""
    class_pixels: tuple[int, ...] = ()
    confidence_histogram: tuple[int, ...] = ()


def rows(job: ShardJob) -> Iterator[MasksRow]:
    """Make the pseudo masks of a shard's photos from their refined CAMs."""
    cv2.setNumThreads(current_worker().slot.threads)  # OpenCV ignores OMP_NUM_THREADS
    photos = {photo.image_id: photo for photo in job.photos}
    palette = np.asarray(job.vocabulary.palette, dtype=np.uint8)
    cams: dict[str, Mapping[str, Any]] = {}  # of the few photos that are being loaded ahead
    without_cams: list[MasksRow] = []

    def photos_with_cams() -> Iterator[Photo]:
        for row in job.upstream_rows("cams", CAMS_COLUMNS):
            photo = photos[row["image_id"]]
            if row["status"] == "ok":
                cams[photo.image_id] = row
                yield photo
            else:
                reason = f"no CAMs: {row['error']}"
                without_cams.append(MasksRow(photo.image_id, photo.class_ids, "error", reason, ErrorKind.UPSTREAM))

    for photo, loaded in load_photos(photos_with_cams(), job.config.dataset):
        row = cams.pop(photo.image_id)
        try:
            yield _row(job, row, _same_photo(photo, row, loaded), palette)
        except PhotoError as error:
            yield MasksRow(photo.image_id, photo.class_ids, "error", error.reason, error.kind)
    yield from without_cams


def _same_photo(photo: Photo, row: Mapping[str, Any], loaded: LoadedPhoto | PhotoError) -> LoadedPhoto:
    if isinstance(loaded, PhotoError):
        raise loaded
    if loaded.size_hw != (row["height"], row["width"]):
        (height, width), before = loaded.size_hw, f"{row['width']}x{row['height']}"
        reason = f"{photo.uri} is {width}x{height} now, and was {before} when its CAMs were made: run again"
        raise PhotoError(ErrorKind.UNREADABLE, reason)
    return loaded


def _row(job: ShardJob, row: Mapping[str, Any], loaded: LoadedPhoto, palette: np.ndarray) -> MasksRow:
    image_rgb = np.asarray(loaded.image)
    class_ids = np.asarray(row["class_ids"], dtype=np.int64)
    made = pseudo_mask(image_rgb, stored_cams(row, "refined_cam"), class_ids, job.config.crf, job.config.confidence)
    made = _enlarged(made, loaded.size_hw)
    return MasksRow(
        row["image_id"],
        tuple(row["class_ids"]),
        mask_png=palette_png(made.mask, palette),
        confidence_png=grey_png(made.confidence),
        class_pixels=tuple(int((made.mask == class_id).sum()) for class_id in (0, *row["class_ids"])),
        confidence_histogram=tuple(histogram(made.confidence).tolist()),
    )


def _enlarged(made: PseudoMask, size_hw: tuple[int, int]) -> PseudoMask:
    """Bring the mask of a reduced photo back to the photo's size, by nearest neighbour."""
    return PseudoMask(resized_ids(made.mask, size_hw), resized_ids(made.confidence, size_hw))
