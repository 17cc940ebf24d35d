"""The gallery of the segmenter: what it predicts on a few photos of the evaluation."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.cards import Card, ids_shown, rows_of, shown_photo, truth_shown
from clipes.tasks.report.gallery.pictures import Picture, data_uri, png_map
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, photo_miou
from clipes_core.evaluation.scored import SEGMENTER_MASK

COLUMNS = ("image_id", "status", "mask_png", "class_pixels", *TRIPLET_COLUMNS)


class EvaluationGallery:
    """Reads the rows of photos of the evaluation, and makes their cards one at a time.

    Args:
        facts: of the run.
        image_ids: of the photos, among those that were chosen.

    Attributes:
        class_ids: labels and predicted classes of the photos, ascending.
    """

    def __init__(self, facts: RunFacts, image_ids: Collection[str]) -> None:
        self._facts, self._photos = facts, facts.segmenter.listed.chosen
        self._rows = rows_of(facts, "segmenter_scores", COLUMNS, image_ids)
        labels = {class_id for name in self._rows if name in self._photos for class_id in self._photos[name].class_ids}
        predicted = {
            class_id for row in self._rows.values() for class_id, pixels in enumerate(row["class_pixels"]) if pixels
        }
        self.class_ids = tuple(sorted((labels | predicted) - {0}))

    def cards(self, image_ids: Collection[str]) -> Iterator[Card]:
        """The cards of photos; one whose prediction cannot be read any more has none."""
        return (
            self._card(self._photos[name], self._rows[name])
            for name in image_ids
            if name in self._photos and name in self._rows
        )

    def _card(self, photo: Photo, row: Mapping[str, Any]) -> Card:
        ids = png_map(row["mask_png"])
        image, lost = shown_photo(photo, ids.shape, self._facts)
        truth, no_truth = truth_shown(photo, image, self._facts)
        miou = photo_miou(row, 1 + len(self._facts.vocabulary.classes))
        return Card(
            photo.image_id,
            photo.class_ids,
            mious={} if math.isnan(miou) else {SEGMENTER_MASK.key: miou},
            pictures=(Picture("Photo", data_uri(image)), ids_shown("Prediction", image, ids, self._facts), *truth),
            notes=(*lost, *no_truth),
        )
