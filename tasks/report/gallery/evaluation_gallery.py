"""The gallery of the segmenter: its predictions for a few evaluation photos."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.report.facts import RunFacts, shows_photo_scores
from clipes.tasks.report.gallery.cards import Card, ids_picture, photo_or_canvas, read_rows, truth_picture
from clipes.tasks.report.gallery.pictures import png_map
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, photo_miou
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes_core.evaluation.scored import SEGMENTER_MASK

COLUMNS = ("image_id", "status", "mask_png", "class_pixels", *TRIPLET_COLUMNS)


class EvaluationGallery:
    """Makes the cards of evaluation photos. The constructor reads the rows of all photos.

    Args:
        facts: facts of the run.
        image_ids: ids of the photos that were chosen for the gallery.

    Attributes:
        class_ids: ids of all classes that are a label of a photo or occur in a prediction; ascending, without 0.
    """

    def __init__(self, facts: RunFacts, image_ids: Collection[str]) -> None:
        self._facts, self._photos = facts, facts.segmenter.listed.chosen
        self._rows = read_rows(facts, SEGMENTER_SCORES.name, COLUMNS, image_ids)
        labels = {class_id for name in self._rows if name in self._photos for class_id in self._photos[name].class_ids}
        predicted = {
            class_id for row in self._rows.values() for class_id, pixels in enumerate(row["class_pixels"]) if pixels
        }
        self.class_ids = tuple(sorted((labels | predicted) - {0}))

    def cards(self, image_ids: Collection[str]) -> Iterator[Card]:
        """Yield the card of each photo; leave out a photo whose prediction cannot be read."""
        return (
            self._card(self._photos[name], self._rows[name])
            for name in image_ids
            if name in self._photos and name in self._rows
        )

    def _card(self, photo: Photo, row: Mapping[str, Any]) -> Card:
        ids = png_map(row["mask_png"])
        image, lost = photo_or_canvas(photo, ids.shape, self._facts)
        truth, no_truth = truth_picture(photo, image, self._facts)
        shown = shows_photo_scores(self._facts.status, SEGMENTER_MASK)
        miou = photo_miou(row, 1 + len(self._facts.vocabulary.classes)) if shown else math.nan
        return Card(
            photo.image_id,
            photo.class_ids,
            mious={} if math.isnan(miou) else {SEGMENTER_MASK.key: miou},
            pictures=(
                self._facts.pictures.encoded("Photo", image),
                ids_picture("Prediction", image, ids, self._facts),
                *truth,
            ),
            notes=(*lost, *no_truth),
        )
