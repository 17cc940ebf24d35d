"""What a run's artifacts say of the segmenter, gathered for the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipes_core.gallery import GalleryChoice, Picks
from tasks.confusions import TRIPLET_COLUMNS, photo_miou
from tasks.report.artifacts import RunArtifacts
from tasks.report.listed import Listed, listed
from tasks.run_files import EVALUATION_FILE
from tasks.stages import STAGES

Curve = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class SegmenterFacts:
    """What the report tells of a segmenter.

    Attributes:
        curve: rows of its artifact, see tasks/stages.py; none where it was not trained.
        listed: photos of the evaluation.
        picks: those for the gallery, by the mIoU in the photo.
    """

    curve: Curve
    listed: Listed
    picks: Picks


def segmenter_facts(artifacts: RunArtifacts, num_classes: int, gallery: int) -> SegmenterFacts:
    """Read the curve, and choose among the photos of the evaluation.

    Args:
        artifacts: of the run.
        num_classes: 1 + K.
        gallery: how many photos are shown.
    """
    choice = GalleryChoice(gallery)
    for row in artifacts.rows("segmenter_scores", ("image_id", "status", *TRIPLET_COLUMNS)):
        if row["status"] == "ok":
            choice.add(row["image_id"], photo_miou(row, num_classes))
    picks = choice.picks()
    evaluated = listed(artifacts, EVALUATION_FILE, {*picks.best, *picks.worst, *picks.random})
    return SegmenterFacts(tuple(artifacts.rows("segmenter", STAGES["segmenter"].schema.names)), evaluated, picks)
