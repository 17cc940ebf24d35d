"""What the galleries of a report show of one photo."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.inputs.truth import load_ids
from clipes.tasks.plan.keys import shard_of
from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.pictures import Picture, data_uri, grey_canvas, small_ids, small_photo
from clipes_core.errors import PhotoError
from clipes_core.pictures.overlay import ids_on_photo

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ClassCams:
    """The CAMs of one class of a photo.

    Attributes:
        class_id: data set id.
        sentences: what CLIP read for it.
        score: of the class in this photo, what its CAM explains.
        pictures: initial and refined CAM.
    """

    class_id: int
    sentences: tuple[str, ...]
    score: float
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Card:
    """What one photo came to.

    Attributes:
        image_id: of the photo.
        class_ids: its labels.
        mious: pseudo_mask and centre_box, or segmenter, in [0, 1], where it has a truth.
        pictures: photo, mask or prediction, confidence, truth, as far as they are there.
        notes: what is missing, and why.
        sure: share of pixels that are sure enough to train on, None without a mask.
        cams: of its first classes.
        hidden: how many further classes it has.
    """

    image_id: str
    class_ids: tuple[int, ...]
    mious: Mapping[str, float]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
    sure: float | None = None
    cams: tuple[ClassCams, ...] = ()
    hidden: int = 0


def rows_of(facts: RunFacts, stage: str, columns: tuple[str, ...], image_ids: Collection[str]) -> Rows:
    """image_id -> row with a result; reads only the shards that hold one of the photos."""
    shards = {shard_of(image_id, facts.config.execution.shards) for image_id in image_ids}
    rows = facts.artifacts.rows(stage, columns, shards)
    return {row["image_id"]: row for row in rows if row["image_id"] in image_ids and row["status"] == "ok"}


def shown_photo(photo: Photo, size_hw: tuple[int, int], facts: RunFacts) -> tuple[np.ndarray, tuple[str, ...]]:
    """A photo as `small_photo` gives it, grey where it cannot be read any more; and why that is."""
    try:
        return small_photo(load_photo(photo, facts.config.dataset).image), ()
    except PhotoError as error:
        return grey_canvas(size_hw), (f"the photo cannot be shown: {error.reason}",)


def ids_shown(title: str, image: np.ndarray, ids: np.ndarray, facts: RunFacts) -> Picture:
    """A map of ids, (H, W) uint8 of any size, over a small photo."""
    palette = np.asarray(facts.vocabulary.palette, np.uint8)
    return Picture(title, data_uri(ids_on_photo(image, small_ids(ids, image.shape[:2]), palette)))


def truth_shown(photo: Photo, image: np.ndarray, facts: RunFacts) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The true mask of a photo over it, where it has one; and why that cannot be shown."""
    if photo.truth_uri is None:
        return (), ()
    try:
        return (ids_shown("Truth", image, load_ids(photo.truth_uri), facts),), ()
    except PhotoError as error:
        return (), (f"no truth: {error.reason}",)
