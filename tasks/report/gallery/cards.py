"""The card that a gallery shows for one photo, and the functions that both galleries share."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.inputs.truth import load_ids
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.pictures import Picture, data_uri, grey_canvas, small_ids, small_photo
from clipes_core.errors import PhotoError
from clipes_core.pictures.overlay import ids_on_photo

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ClassCams:
    """The CAMs of one class of a photo.

    Attributes:
        class_id: id of the class in the data set.
        sentences: prompts that CLIP encoded for the class.
        score: CLIP's score for the class in this photo; the CAM is computed from the gradient of this score.
        pictures: initial and refined CAM.
    """

    class_id: int
    sentences: tuple[str, ...]
    score: float
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Card:
    """The results for one photo.

    Attributes:
        image_id: id of the photo.
        class_ids: labels of the photo.
        mious: key of the score (pseudo mask and baseline, or segmenter) -> mIoU in [0, 1]; empty
            without a true mask.
        pictures: photo, pseudo mask or prediction, confidence map and true mask; missing pictures are left out.
        notes: sentences that say which picture is missing, and why.
        sure: share of pixels with a confidence of at least the paper's mu (0.95); None without a pseudo mask.
        cams: CAMs of the photo's first classes.
        hidden: number of the photo's other classes, whose CAMs are not shown.
    """

    image_id: str
    class_ids: tuple[int, ...]
    mious: Mapping[str, float]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
    sure: float | None = None
    cams: tuple[ClassCams, ...] = ()
    hidden: int = 0


def read_rows(facts: RunFacts, stage: str, columns: tuple[str, ...], image_ids: Collection[str]) -> Rows:
    """Return image_id -> row for the photos that have a result in a stage; read only the shards of these photos."""
    shards = {shard_of(image_id, facts.config.execution.shards) for image_id in image_ids}
    rows = facts.artifacts.rows(stage, columns, shards)
    return {row["image_id"]: row for row in rows if row["image_id"] in image_ids and row["status"] == "ok"}


def photo_or_canvas(photo: Photo, size_hw: tuple[int, int], facts: RunFacts) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a reduced photo; if the photo cannot be read, return a grey canvas and a note with the reason."""
    try:
        return small_photo(load_photo(photo, facts.config.dataset).image), ()
    except PhotoError as error:
        return grey_canvas(size_hw), (f"the photo cannot be shown: {error.reason}",)


def ids_picture(title: str, image: np.ndarray, ids: np.ndarray, facts: RunFacts) -> Picture:
    """Draw a map of class ids, (H, W) uint8 of any size, over a photo that `small_photo` has reduced."""
    palette = np.asarray(facts.vocabulary.palette, np.uint8)
    return Picture(title, data_uri(ids_on_photo(image, small_ids(ids, image.shape[:2]), palette)))


def truth_picture(photo: Photo, image: np.ndarray, facts: RunFacts) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Draw a photo's true mask, if it has one, over the photo; return a note if the mask cannot be read."""
    if photo.truth_uri is None:
        return (), ()
    try:
        return (ids_picture("Truth", image, load_ids(photo.truth_uri), facts),), ()
    except PhotoError as error:
        return (), (f"the true mask cannot be shown: {error.reason}",)
