"""The scores of a run's classes, as report and UI show them."""

from collections.abc import Mapping
from dataclasses import dataclass

from clipes.tasks.report.facts import RunFacts
from clipes_core.evaluation.scored import PSEUDO_MASK, SCORED, SEGMENTER_MASK

RANKING = (PSEUDO_MASK.key, SEGMENTER_MASK.key)  # the first of them that was scored ranks the classes


@dataclass(frozen=True)
class ClassScores:
    """What one class came to.

    Attributes:
        id: of the class; 0 is background.
        name: of the class.
        iou: of its pseudo masks, or of the segmenter where masks were not scored, in [0, 1]; None where no truth of
            these holds the class.
        photos: how many have its label, None for background.
        others: IoU of all that was scored, the pseudo mask among it; None where no truth holds the class.
    """

    id: int
    name: str
    iou: float | None
    photos: int | None
    others: Mapping[str, float | None]


def ranked_by(facts: RunFacts) -> str | None:
    """What the classes are ranked by; None where nothing was scored."""
    metrics = facts.status.metrics or {}
    return next((what for what in RANKING if what in metrics), None)


def class_scores(facts: RunFacts) -> list[ClassScores]:
    """Background and every class with truth, the best pseudo mask first."""
    metrics, first = facts.status.metrics or {}, ranked_by(facts)
    if first is None:
        return []
    ious = {each.key: metrics[each.key]["class_iou"] for each in SCORED if each.key in metrics}
    found = [
        ClassScores(
            *(class_id, name, ious[first][name], facts.listed.by_class.get(class_id)),
            {what: of_class.get(name) for what, of_class in ious.items()},
        )
        for class_id, name in enumerate(ious[first])
        if any(ious[what].get(name) is not None for what in RANKING if what in ious)
    ]
    return sorted(found, key=lambda line: (-1 if line.iou is None else line.iou, -line.id), reverse=True)
