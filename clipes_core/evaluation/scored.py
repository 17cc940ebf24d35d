"""The kinds of prediction that a run scores against true masks. Metrics, terminal, report and UI share this table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scored:
    """One kind of prediction that is compared with true masks.

    Attributes:
        key: name in metrics.json, in artifacts and in the tables of the Prefect UI.
        title: name that readers see.
        is_baseline: whether it is the baseline that the others are compared with. The baseline uses only the labels.
        on_evaluation: whether it is scored on the photos of `evaluation` instead of those of `dataset`.
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
