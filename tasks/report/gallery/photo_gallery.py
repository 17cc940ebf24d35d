"""The gallery of a report: a few photos with their CAMs, masks and true masks."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.pngs import read_png_map
from clipes.tasks.report.facts import RunFacts, shows_photo_scores
from clipes.tasks.report.gallery.cards import (
    Card,
    ClassCams,
    photo_or_canvas,
    read_rows,
    styles_of,
    truth_or_note,
)
from clipes.tasks.report.gallery.forms import GalleryForm
from clipes.tasks.report.gallery.pictures import Picture
from clipes.tasks.report.sections.to_check import TITLES
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, photo_mious
from clipes.tasks.stages.masks import MASKS
from clipes_core.confidence import PAPER_MU, share_at_least
from clipes_core.evaluation.scored import PSEUDO_MASK
from clipes_core.pictures.class_colours import ClassStyle

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
    """Makes the cards of photos. The constructor reads the rows of all these photos.

    Args:
        facts: facts of the run.
        image_ids: ids of the photos. Photos that `facts.listed.chosen` lacks are left out.
        form: maker of the pictures.
    """

    def __init__(self, facts: RunFacts, image_ids: Collection[str], form: GalleryForm) -> None:
        self._facts, self._form = facts, form
        chosen = [name for name in image_ids if name in facts.listed.chosen]
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
        size_hw = (cams["height"], cams["width"])
        image, lost = photo_or_canvas(photo, size_hw, self._facts, self._form.longer_side)
        truth, no_truth = truth_or_note(photo)
        ids = None if mask is None else read_png_map(mask["mask_png"])
        styles, to_check = styles_of(photo, ids, truth), self._facts.to_check.get(photo.image_id)
        return Card(
            photo.image_id,
            photo.class_ids,
            photo.uri,
            styles,
            mious={} if scores is None else photo_mious(scores, 1 + len(self._facts.vocabulary.classes)),
            pictures=tuple(self._pictures(image, ids, mask, truth, styles)),
            notes=(*lost, *no_truth),
            sure=None if mask is None else share_at_least(np.array(mask["confidence_histogram"]), PAPER_MU),
            cams=tuple(self._class_cams(cams, image)),
            hidden=max(0, len(photo.class_ids) - SHOWN_CLASSES),
            reasons={} if to_check is None else {TITLES[found.reason]: found.text for found in to_check.reasons},
            severity=0.0 if to_check is None else to_check.severity,
        )

    def _pictures(
        self,
        image: np.ndarray,
        ids: np.ndarray | None,
        mask: Mapping[str, Any] | None,
        truth: np.ndarray | None,
        styles: Mapping[int, ClassStyle],
    ) -> Iterator[Picture]:
        yield self._form.photo(image)
        if ids is not None and mask is not None:
            yield self._form.ids("Pseudo mask", "mask", image, ids, styles)
            yield self._form.levels(image, read_png_map(mask["confidence_png"]))
        if truth is not None:
            yield self._form.ids("Truth", "truth", image, truth, styles)

    def _class_cams(self, row: Mapping[str, Any], image: np.ndarray) -> Iterator[ClassCams]:
        if not row["class_ids"]:
            return
        initial, refined = stored_cams(row, "cam"), stored_cams(row, "refined_cam")
        for place, class_id in enumerate(row["class_ids"][:SHOWN_CLASSES]):
            pictures = (
                self._form.cam("Initial CAM", image, initial[place]),
                self._form.cam("Refined CAM", image, refined[place]),
            )
            yield ClassCams(class_id, self._facts.sentences.get(class_id, ()), row["scores"][place], pictures)
