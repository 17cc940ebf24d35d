"""The kinds of prediction that a run scores, and the names of each kind."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scored:
    """One kind of prediction that is compared with true masks.

    Attributes:
        key: name in metrics.json, in the store's artifacts and in the tables of the Prefect UI.
        title: name in the terminal and in the report.
        is_baseline: true for the baseline, with which the other kinds are compared.
        on_evaluation: if true, the prediction is scored on the photos of the config section `evaluation`; if false, on
            the photos of the section `dataset`.
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
SCORED = (CENTRE_BOX, INITIAL_CAM, REFINED_CAM, PSEUDO_MASK, SEGMENTER_MASK)  # in the order in which they are shown
