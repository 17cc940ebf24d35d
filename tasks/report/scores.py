"""The scores of a run's classes, as report and UI show them."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.report.facts import RunFacts

SCORED = {
    "centre_box": "Centre box (baseline)",
    "initial_cam": "Initial CAM",
    "refined_cam": "Refined CAM",
    "pseudo_mask": "Pseudo mask",
    "segmenter": "Segmenter",
}


@dataclass(frozen=True)
class ClassScores:
    """What one class came to.

    Attributes:
        id: of the class; 0 is background.
        name: of the class.
        iou: of its pseudo masks, in [0, 1].
        photos: how many have its label, None for background.
        others: IoU of all that was scored, the pseudo mask among it; None where a union is empty.
    """

    id: int
    name: str
    iou: float
    photos: int | None
    others: Mapping[str, float | None]


def class_scores(facts: RunFacts) -> list[ClassScores]:
    """Background and every class with truth, the best pseudo mask first."""
    metrics = facts.status.metrics or {}
    if "pseudo_mask" not in metrics:
        return []
    found = [
        ClassScores(
            *(class_id, name, iou, facts.listed.by_class.get(class_id)),
            {what: metrics[what]["class_iou"].get(name) for what in SCORED if what in metrics},
        )
        for class_id, (name, iou) in enumerate(metrics["pseudo_mask"]["class_iou"].items())
        if iou is not None
    ]
    return sorted(found, key=lambda line: (-line.iou, line.id))
