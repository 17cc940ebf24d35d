"""The scores of a run's classes, as the report and the UI show them."""

from collections.abc import Mapping
from dataclasses import dataclass

from clipes.tasks.report.facts import RunFacts
from clipes_core.evaluation.scored import PSEUDO_MASK, SCORED, SEGMENTER_MASK

RANKING = (PSEUDO_MASK.key, SEGMENTER_MASK.key)  # classes are ranked by the first of these scores that the run has


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class.

    Attributes:
        id: class id; 0 is background.
        name: name of the class.
        iou: IoU in [0, 1] of the pseudo masks. If the pseudo masks were not scored, it is the IoU of the segmenter.
            It is None if no true mask of the scored photos contains the class.
        photos: number of photos with the class as a label; None for background.
        others: key of each scored kind of prediction -> IoU of the class; one of these values is equal to `iou`. A
            value is None if no true mask contains the class.
    """

    id: int
    name: str
    iou: float | None
    photos: int | None
    others: Mapping[str, float | None]


def ranked_by(facts: RunFacts) -> str | None:
    """Return the key of the score that ranks the classes; None if nothing was scored."""
    metrics = facts.status.metrics or {}
    return next((what for what in RANKING if what in metrics), None)


def ranked_classes(facts: RunFacts) -> list[ClassScores]:
    """Return the scores of each class that occurs in a true mask, the best class first. Background is a class."""
    metrics, first = facts.status.metrics or {}, ranked_by(facts)
    if first is None:
        return []
    ious = {each.key: metrics[each.key]["class_iou"] for each in SCORED if each.key in metrics}
    found = [
        ClassScores(
            class_id,
            name,
            ious[first][name],
            facts.listed.by_class.get(class_id, 0) if class_id else None,
            {what: of_class.get(name) for what, of_class in ious.items()},
        )
        for class_id, name in enumerate(ious[first])
        if any(ious[what].get(name) is not None for what in RANKING if what in ious)
    ]
    return sorted(found, key=lambda line: (-1 if line.iou is None else line.iou, -line.id), reverse=True)
