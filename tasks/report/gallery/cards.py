"""The card that a gallery shows for one photo, and functions that `Gallery` and `EvaluationGallery` use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.inputs.sources.source import ABSENT
from clipes.tasks.inputs.truth import load_ids
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.pictures import Picture, grey_canvas, small_ids, small_photo
from clipes.tasks.runs.record.shard_count import recorded_count
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
        class_ids: ids of the classes that are the photo's labels.
        mious: key of a kind of prediction, such as pseudo_mask -> mIoU in [0, 1]. Empty if the photo has no true mask.
        pictures: photo, pseudo mask or prediction, confidence map and true mask; missing pictures are left out.
        notes: messages about missing pictures, with the reasons.
        sure: share of pixels with a confidence of at least the paper's mu (0.95); None without a pseudo mask.
        cams: CAMs of the photo's first classes; empty in the segmenter's gallery.
        hidden: number of the photo's remaining classes. The card does not show their CAMs.
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
    """Read the rows of some photos in a stage's artifacts. Only the row groups that contain these photos are read.

    Returns:
        image_id -> row. Photos without a result are left out.
    """
    count = recorded_count(facts.status.run)
    shards = {shard_of(image_id, count) for image_id in image_ids}
    rows = facts.artifacts.rows(stage, columns, shards, image_ids)
    return {row["image_id"]: row for row in rows if row["status"] == "ok"}


def photo_or_canvas(photo: Photo, size_hw: tuple[int, int], facts: RunFacts) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a photo at the report's size. If it cannot be read, return a grey canvas and a note with the reason."""
    try:
        return small_photo(load_photo(photo, facts.config.dataset).image), ()
    except PhotoError as error:
        facts.artifacts.unreadable[photo.uri] = f"{photo.uri}: {error.reason}"
        return grey_canvas(size_hw), (f"the photo cannot be shown: {error.reason}",)


def ids_picture(title: str, image: np.ndarray, ids: np.ndarray, facts: RunFacts) -> Picture:
    """Draw a map of class ids, (H, W) uint8 of any size, over a photo that `small_photo` has reduced."""
    palette = np.asarray(facts.vocabulary.palette, np.uint8)
    return facts.pictures.encoded(title, ids_on_photo(image, small_ids(ids, image.shape[:2]), palette))


def truth_picture(photo: Photo, image: np.ndarray, facts: RunFacts) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """If a photo has a true mask, draw the mask over the photo. If the mask cannot be read, return a note instead."""
    if photo.truth_uri is None:
        return (), ()
    try:
        return (ids_picture("Truth", image, load_ids(photo.truth_uri, photo.truth_fingerprint or ABSENT), facts),), ()
    except PhotoError as error:
        return (), (f"the true mask cannot be shown: {error.reason}",)
