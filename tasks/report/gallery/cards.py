"""The card that a gallery shows for one photo, and functions that `Gallery` and `EvaluationGallery` use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np

from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.inputs.sources.source import ABSENT
from clipes.tasks.inputs.truth import load_ids
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.pictures import Picture, grey_canvas, small_photo
from clipes.tasks.runs.record.shard_count import recorded_count
from clipes_core.errors import BrokenArtifactError, PhotoError
from clipes_core.pictures.class_colours import ClassStyle, class_styles
from clipes_core.pseudo_mask import IGNORE_INDEX

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
        uri: path or URI of the photo.
        styles: class id -> look, for all classes that are labels or occur in a mask of the photo.
        mious: key of a kind of prediction, such as pseudo_mask -> mIoU in [0, 1]. Empty if the photo has no true mask.
        pictures: photo, pseudo mask or prediction, confidence map and true mask; missing pictures are left out.
        notes: messages about missing pictures, with the reasons.
        sure: share of pixels with a confidence of at least the paper's mu (0.95); None without a pseudo mask.
        cams: CAMs of the photo's first classes; empty in the segmenter's gallery.
        hidden: number of the photo's remaining classes. The card does not show their CAMs.
        reasons: short title of a reason -> sentence, for the reasons why a person should look at the photo.
        severity: number by which photos with reasons are sorted; 0 without a reason.
    """

    image_id: str
    class_ids: tuple[int, ...]
    uri: str
    styles: Mapping[int, ClassStyle]
    mious: Mapping[str, float]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
    sure: float | None = None
    cams: tuple[ClassCams, ...] = ()
    hidden: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    severity: float = 0.0

    @property
    def link(self) -> str | None:
        """Return a link to the photo; None if a browser cannot open the photo's URI."""
        if self.uri.startswith(("http://", "https://")):
            return self.uri
        return f"file://{quote(self.uri)}" if self.uri.startswith("/") else None


def read_rows(facts: RunFacts, stage: str, columns: tuple[str, ...], image_ids: Collection[str]) -> Rows:
    """Read the rows of some photos in a stage's artifacts. Only the row groups that contain these photos are read.

    Returns:
        image_id -> row. Photos without a result are left out.
    """
    count = recorded_count(facts.status.run)
    shards = {shard_of(image_id, count) for image_id in image_ids}
    rows = facts.artifacts.rows(stage, columns, shards, image_ids)
    return {row["image_id"]: row for row in rows if row["status"] == "ok"}


def photo_or_canvas(
    photo: Photo, size_hw: tuple[int, int], facts: RunFacts, longer_side: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a photo, and reduce it. If it cannot be read, return a grey canvas and a note with the reason.

    Args:
        photo: the photo.
        size_hw: height and width of the canvas before the reduction [px].
        facts: facts of the report; a photo that cannot be read is added to its unreadable files.
        longer_side: greatest length of the longer side [px].

    Returns:
        The photo or the canvas, (H, W, 3) uint8 RGB, and the notes.
    """
    try:
        return small_photo(load_photo(photo, facts.config.dataset).image, longer_side), ()
    except PhotoError as error:
        facts.artifacts.unreadable[photo.uri] = f"{photo.uri}: {error.reason}"
        return grey_canvas(size_hw, longer_side), (f"the photo cannot be shown: {error.reason}",)


def truth_or_note(photo: Photo) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the true mask of a photo, (H, W) uint8; None if there is none. If it cannot be read, return a note too."""
    if photo.truth_uri is None:
        return None, ()
    try:
        return load_ids(photo.truth_uri, photo.truth_fingerprint or ABSENT), ()
    except (PhotoError, BrokenArtifactError) as error:
        return None, (f"the true mask cannot be shown: {error.reason}",)


def styles_of(photo: Photo, *maps: np.ndarray | None) -> dict[int, ClassStyle]:
    """Return the look of each class that is a label of a photo or occurs in a map of class ids, (H, W) uint8."""
    found = {int(class_id) for ids in maps if ids is not None for class_id in np.unique(ids)}
    return class_styles((found | set(photo.class_ids)) - {0, IGNORE_INDEX})
