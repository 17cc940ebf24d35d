"""The facts about the segmenter that a report shows, gathered from a run's artifacts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.report.photo_counts import PhotoCounts, count_photos
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, photo_miou
from clipes.tasks.stages.segmenter import SEGMENTER, is_validated_on, read_training_facts
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.storage.layout import EVALUATION_FILE
from clipes_core.pictures.gallery import GalleryChoice, Picks

CurveRows = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class SegmenterFacts:
    """The training of a segmenter and its evaluation.

    Attributes:
        curve: rows of the segmenter's artifact, one per point of the training curve; empty if no segmenter was trained.
            If the training was validated on other photos than those of the run, the rows have no mIoU.
        listed: number of evaluation photos, and the listed data of those photos that the gallery shows.
        picks: ids of the photos that the gallery shows, chosen by the mIoU of each photo's prediction.
    """

    curve: CurveRows
    listed: PhotoCounts
    picks: Picks


def segmenter_facts(
    run: Mapping[str, Any], artifacts: RunArtifacts, num_classes: int, gallery: int, scored: bool
) -> SegmenterFacts:
    """Read the training curve, and choose evaluation photos for the gallery.

    Args:
        run: content of run.json.
        artifacts: reader of the run's artifacts.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        gallery: number of photos to show.
        scored: if true, photos are chosen by mIoU; if false, they are chosen at random.
    """
    choice = GalleryChoice(gallery)
    for row in artifacts.rows(SEGMENTER_SCORES.name, ("image_id", "status", *TRIPLET_COLUMNS)):
        if row["status"] == "ok":
            choice.add(row["image_id"], photo_miou(row, num_classes) if scored else float("nan"))
    picks = choice.picks()
    evaluated = count_photos(artifacts, EVALUATION_FILE, {*picks.best, *picks.worst, *picks.random})
    return SegmenterFacts(tuple(_curve(run, artifacts)), evaluated, picks)


def _curve(run: Mapping[str, Any], artifacts: RunArtifacts) -> Iterator[dict[str, Any]]:
    trained = artifacts.facts(SEGMENTER.name, read_training_facts)
    outdated = "validation" in run and is_validated_on(trained, run["validation"]) is False
    for point in artifacts.rows(SEGMENTER.name, SEGMENTER.schema.names):
        yield {**point, "miou": None} if outdated else point
