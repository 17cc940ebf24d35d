"""The gallery of a report: what a few photos came to, step by step."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipes_core.confidence import PAPER_MU, share_from
from clipes_core.errors import PhotoError
from clipes_core.overlay import heat_on_photo, ids_on_photo
from tasks.cam_rows import stored_cams
from tasks.keys import shard_of
from tasks.mask_scores import CELL_COLUMNS, photo_mious
from tasks.photos import Photo, load_ids, load_photo
from tasks.report.facts import RunFacts
from tasks.report.pictures import data_uri, grey_canvas, png_map, small_ids, small_levels, small_photo

SHOWN_CLASSES = 4
CAM_COLUMNS = (
    *("image_id", "status", "class_ids", "scores", "height", "width", "grid_h", "grid_w"),
    *("cam", "refined_cam", "refined_residual"),
)
MASK_COLUMNS = ("image_id", "status", "mask_png", "confidence_png", "confidence_histogram")

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Picture:
    """A picture and what it shows."""

    title: str
    uri: str


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
        mious: pseudo_mask and centre_box, in [0, 1], where it has a truth.
        sure: share of pixels that are sure enough to train on, None without a mask.
        pictures: photo, mask, confidence, truth, as far as they are there.
        cams: of its first classes.
        hidden: how many further classes it has.
        notes: what is missing, and why.
    """

    image_id: str
    class_ids: tuple[int, ...]
    mious: Mapping[str, float]
    sure: float | None
    pictures: tuple[Picture, ...]
    cams: tuple[ClassCams, ...]
    hidden: int
    notes: tuple[str, ...]


class Gallery:
    """Reads the rows of the chosen photos, and makes their cards one at a time."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._palette = np.asarray(facts.vocabulary.palette, np.uint8)
        chosen = facts.listed.chosen
        self._cams = _rows_of(facts, "cams", CAM_COLUMNS, chosen)
        self._masks = _rows_of(facts, "masks", MASK_COLUMNS, chosen)
        self._scores = _rows_of(facts, "mask_scores", ("image_id", "status", *CELL_COLUMNS), chosen)

    def cards(self, image_ids: Collection[str]) -> Iterator[Card]:
        """The cards of photos; one whose CAMs cannot be read any more has none."""
        chosen = self._facts.listed.chosen
        return (self._card(chosen[name]) for name in image_ids if name in chosen and name in self._cams)

    def _card(self, photo: Photo) -> Card:
        cams, mask, scores = (rows.get(photo.image_id) for rows in (self._cams, self._masks, self._scores))
        assert cams is not None  # see `cards`
        image, notes = _small_photo(photo, cams, self._facts)
        pictures = [Picture("Photo", data_uri(image))]
        if mask is not None:
            ids = small_ids(png_map(mask["mask_png"]), image.shape[:2])
            pictures.append(Picture("Pseudo mask", data_uri(ids_on_photo(image, ids, self._palette))))
            levels = small_levels(png_map(mask["confidence_png"]), image.shape[:2])
            pictures.append(Picture("Confidence", data_uri(levels)))
        if photo.truth_uri is not None:
            try:
                truth = small_ids(load_ids(photo.truth_uri), image.shape[:2])
                pictures.append(Picture("Truth", data_uri(ids_on_photo(image, truth, self._palette))))
            except PhotoError as error:
                notes = (*notes, f"no truth: {error.reason}")
        return Card(
            photo.image_id,
            photo.class_ids,
            mious={} if scores is None else photo_mious(scores, 1 + len(self._facts.vocabulary.classes)),
            sure=None if mask is None else share_from(np.array(mask["confidence_histogram"]), PAPER_MU),
            pictures=tuple(pictures),
            cams=tuple(self._class_cams(cams, image)),
            hidden=max(0, len(photo.class_ids) - SHOWN_CLASSES),
            notes=notes,
        )

    def _class_cams(self, row: Mapping[str, Any], image: np.ndarray) -> Iterator[ClassCams]:
        if not row["class_ids"]:
            return
        initial, refined = stored_cams(row, "cam"), stored_cams(row, "refined_cam")
        for place, class_id in enumerate(row["class_ids"][:SHOWN_CLASSES]):
            pictures = (
                Picture("Initial CAM", data_uri(heat_on_photo(image, initial[place]))),
                Picture("Refined CAM", data_uri(heat_on_photo(image, refined[place]))),
            )
            yield ClassCams(class_id, self._facts.sentences.get(class_id, ()), row["scores"][place], pictures)


def _small_photo(photo: Photo, cams: Mapping[str, Any], facts: RunFacts) -> tuple[np.ndarray, tuple[str, ...]]:
    try:
        return small_photo(load_photo(photo, facts.config.dataset).image), ()
    except PhotoError as error:
        return grey_canvas((cams["height"], cams["width"])), (f"the photo cannot be shown: {error.reason}",)


def _rows_of(facts: RunFacts, stage: str, columns: tuple[str, ...], image_ids: Collection[str]) -> Rows:
    """image_id -> row with a result; reads only the shards that hold one of the photos."""
    shards = {shard_of(image_id, facts.config.execution.shards) for image_id in image_ids}
    rows = facts.artifacts.rows(stage, columns, shards)
    return {row["image_id"]: row for row in rows if row["image_id"] in image_ids and row["status"] == "ok"}
