"""The gallery of the segmenter: its predictions for a few evaluation photos."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.pngs import read_png_map
from clipes.tasks.report.facts import RunFacts, shows_photo_scores
from clipes.tasks.report.gallery.cards import Card, photo_or_canvas, read_rows, styles_of, truth_or_note
from clipes.tasks.report.gallery.forms import GalleryForm
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, photo_miou
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes_core.evaluation.scored import SEGMENTER_MASK

COLUMNS = ("image_id", "status", "mask_png", *TRIPLET_COLUMNS)


class EvaluationGallery:
    """Makes the cards of evaluation photos. The constructor reads the rows of all photos.

    Args:
        facts: facts of the run.
        image_ids: ids of the photos that were chosen for the gallery.
        form: maker of the pictures.
    """

    def __init__(self, facts: RunFacts, image_ids: Collection[str], form: GalleryForm) -> None:
        self._facts, self._photos, self._form = facts, facts.segmenter.listed.chosen, form
        self._rows = read_rows(facts, SEGMENTER_SCORES.name, COLUMNS, image_ids)

    def cards(self, image_ids: Collection[str]) -> Iterator[Card]:
        """Yield the card of each photo; leave out a photo whose prediction cannot be read."""
        return (
            self._card(self._photos[name], self._rows[name])
            for name in image_ids
            if name in self._photos and name in self._rows
        )

    def _card(self, photo: Photo, row: Mapping[str, Any]) -> Card:
        ids = read_png_map(row["mask_png"])
        image, lost = photo_or_canvas(photo, ids.shape, self._facts, self._form.longer_side)
        truth, no_truth = truth_or_note(photo)
        styles = styles_of(photo, ids, truth)
        maps = {("Prediction", "mask"): ids, ("Truth", "truth"): truth}
        shown = shows_photo_scores(self._facts.status, SEGMENTER_MASK)
        miou = photo_miou(row, 1 + len(self._facts.vocabulary.classes)) if shown else math.nan
        return Card(
            photo.image_id,
            photo.class_ids,
            photo.uri,
            styles,
            mious={} if math.isnan(miou) else {SEGMENTER_MASK.key: miou},
            pictures=(
                self._form.photo(image),
                *(self._form.ids(*name, image, each, styles) for name, each in maps.items() if each is not None),
            ),
            notes=(*lost, *no_truth),
        )
