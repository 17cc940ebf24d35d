"""The gallery of a report: a few photos with their CAMs, masks and true masks."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.report.facts import RunFacts, shows_photo_scores
from clipes.tasks.report.gallery.cards import Card, ClassCams, ids_picture, photo_or_canvas, read_rows, truth_picture
from clipes.tasks.report.gallery.pictures import Picture, png_map, small_levels
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, photo_mious
from clipes.tasks.stages.masks import MASKS
from clipes_core.confidence import PAPER_MU, share_at_least
from clipes_core.evaluation.scored import PSEUDO_MASK
from clipes_core.pictures.overlay import heat_on_photo

SHOWN_CLASSES = 4
CAM_COLUMNS = (
    "image_id",
    "status",
    "class_ids",
    "scores",
    "height",
    "width",
    "grid_h",
    "grid_w",
    "cam",
    "refined_cam",
    "refined_residual",
)
MASK_COLUMNS = ("image_id", "status", "mask_png", "confidence_png", "confidence_histogram")


class Gallery:
    """Makes the cards of the photos that were chosen for the gallery. The constructor reads the rows of all photos."""

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        chosen = facts.listed.chosen
        self._cams = read_rows(facts, CAMS.name, CAM_COLUMNS, chosen)
        self._masks = read_rows(facts, MASKS.name, MASK_COLUMNS, chosen)
        scored = chosen if shows_photo_scores(facts.status, PSEUDO_MASK) else ()
        self._scores = read_rows(facts, MASK_SCORES.name, ("image_id", "status", *CELL_COLUMNS), scored)

    def cards(self, image_ids: Collection[str]) -> Iterator[Card]:
        """Yield the card of each photo; leave out a photo whose CAMs cannot be read."""
        chosen = self._facts.listed.chosen
        return (self._card(chosen[name]) for name in image_ids if name in chosen and name in self._cams)

    def _card(self, photo: Photo) -> Card:
        cams, mask, scores = (rows.get(photo.image_id) for rows in (self._cams, self._masks, self._scores))
        assert cams is not None  # `cards` leaves out photos without CAMs
        image, lost = photo_or_canvas(photo, (cams["height"], cams["width"]), self._facts)
        truth, no_truth = truth_picture(photo, image, self._facts)
        return Card(
            photo.image_id,
            photo.class_ids,
            mious={} if scores is None else photo_mious(scores, 1 + len(self._facts.vocabulary.classes)),
            pictures=(self._facts.pictures.encoded("Photo", image), *self._mask_pictures(mask, image), *truth),
            notes=(*lost, *no_truth),
            sure=None if mask is None else share_at_least(np.array(mask["confidence_histogram"]), PAPER_MU),
            cams=tuple(self._class_cams(cams, image)),
            hidden=max(0, len(photo.class_ids) - SHOWN_CLASSES),
        )

    def _mask_pictures(self, mask: Mapping[str, Any] | None, image: np.ndarray) -> Iterator[Picture]:
        if mask is not None:
            yield ids_picture("Pseudo mask", image, png_map(mask["mask_png"]), self._facts)
            levels = small_levels(png_map(mask["confidence_png"]), image.shape[:2])
            yield self._facts.pictures.encoded("Confidence", levels)

    def _class_cams(self, row: Mapping[str, Any], image: np.ndarray) -> Iterator[ClassCams]:
        if not row["class_ids"]:
            return
        initial, refined = stored_cams(row, "cam"), stored_cams(row, "refined_cam")
        for place, class_id in enumerate(row["class_ids"][:SHOWN_CLASSES]):
            pictures = (
                self._facts.pictures.encoded("Initial CAM", heat_on_photo(image, initial[place])),
                self._facts.pictures.encoded("Refined CAM", heat_on_photo(image, refined[place])),
            )
            yield ClassCams(class_id, self._facts.sentences.get(class_id, ()), row["scores"][place], pictures)
