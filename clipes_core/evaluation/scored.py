"""What a run scores against true masks: the one table that metrics, terminal, report and UI share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scored:
    """One kind of prediction that is compared with true masks.

    Attributes:
        key: its name in metrics.json, in artifacts and in the tables of the Prefect UI.
        title: its name for readers.
        is_baseline: the others are measured against it; it sees the labels alone.
        on_evaluation: its scores are over the photos of the evaluation, not over those of the data set.
    """

    key: str
    title: str
    is_baseline: bool = False
    on_evaluation: bool = False


CENTRE_BOX = Scored("centre_box", "Centre box (baseline)", is_baseline=True)
INITIAL_CAM = Scored("initial_cam", "Initial CAM")
REFINED_CAM = Scored("refined_cam", "Refined CAM")
PSEUDO_MASK = Scored("pseudo_mask", "Pseudo mask")
SEGMENTER_MASK = Scored("segmenter", "Segmenter (evaluation)", on_evaluation=True)
SCORED = (CENTRE_BOX, INITIAL_CAM, REFINED_CAM, PSEUDO_MASK, SEGMENTER_MASK)  # in the order they are shown
