"""The sections of the report that compare the pseudo masks with true masks."""

from dataclasses import dataclass

import numpy as np

from clipes.tasks.report.facts import RunFacts
from clipes_core.confidence import PAPER_MU, lowest_kept_level
from clipes_core.evaluation.calibration import ConfidenceRange, calibration, calibration_error
from clipes_core.evaluation.class_errors import Confusion, largest_confusions, precision, recall, row_shares

LARGEST = 20  # pairs of confused classes that are listed
IN_TABLE = 25  # classes, including the background, up to which the whole confusion matrix is shown
BARS = 20  # of the histogram over photos
LOW = 0.25  # mIoU; masks below it are worth a look


@dataclass(frozen=True)
class CalibrationSection:
    """How often pixels are right, by confidence.

    Attributes:
        ranges: accuracy in each range of confidence.
        error: expected calibration error, in [0, 1].
        photos: number of photos that were counted.
        pixels: number of pixels that were counted.
        mu: the paper's threshold of the confidence.
        kept: share of the pixels with a confidence of at least `mu`.
        kept_accuracy: accuracy of these pixels; None if there are none.
    """

    ranges: tuple[ConfidenceRange, ...]
    error: float
    photos: int
    pixels: int
    mu: float
    kept: float
    kept_accuracy: float | None


@dataclass(frozen=True)
class ClassErrors:
    """How well one class is found.

    Attributes:
        id: class id; 0 is background.
        precision: share of the pixels predicted as this class that are right; None if there are none.
        recall: share of the true pixels of this class that are found; None if there are none.
        truth: share of all true pixels.
        cells: share of the true pixels of this class that are predicted as each class of the table; empty if the table
            is not shown.
    """

    id: int
    precision: float | None
    recall: float | None
    truth: float
    cells: tuple[float, ...]


@dataclass(frozen=True)
class ConfusionsSection:
    """Which classes are missed, and which are taken for each other.

    Attributes:
        classes: the classes that occur in a true mask or a pseudo mask.
        has_table: whether the classes are few enough for a table of all pairs.
        largest: the pairs of classes with the most wrong pixels.
    """

    classes: tuple[ClassErrors, ...]
    has_table: bool
    largest: tuple[Confusion, ...]


@dataclass(frozen=True)
class SpreadSection:
    """How many photos have masks of which mIoU.

    Attributes:
        bars: number of photos in each of `BARS` ranges of the same width that cover [0, 1].
        photos: number of photos.
        median: median mIoU.
        low: an mIoU.
        below: number of photos with a lower mIoU than `low`.
    """

    bars: tuple[int, ...]
    photos: int
    median: float
    low: float
    below: int


def calibration_section(facts: RunFacts) -> CalibrationSection | None:
    """Return the content of the section; None if no pixel has both a confidence and a true id."""
    if facts.truth is None or not facts.truth.counted.any():
        return None
    counted, right, first = facts.truth.counted, facts.truth.right, lowest_kept_level(PAPER_MU)
    ranges, kept, pixels = calibration(counted, right), int(counted[first:].sum()), int(counted.sum())
    return CalibrationSection(
        ranges,
        calibration_error(ranges),
        facts.truth.calibrated,
        pixels,
        PAPER_MU,
        kept / pixels,
        int(right[first:].sum()) / kept if kept else None,
    )


def confusions_section(facts: RunFacts) -> ConfusionsSection | None:
    """Return the content of the section; None if no mask is scored."""
    if facts.truth is None or not facts.truth.confusion.any():
        return None
    matrix = facts.truth.confusion
    shown = [int(each) for each in np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))]
    has_table = len(shown) <= IN_TABLE
    truth, cells = matrix.sum(axis=1) / matrix.sum(), np.nan_to_num(row_shares(matrix))
    precisions, recalls = precision(matrix), recall(matrix)
    classes = tuple(
        ClassErrors(
            class_id,
            _known(precisions[class_id]),
            _known(recalls[class_id]),
            float(truth[class_id]),
            tuple(cells[class_id, shown].tolist()) if has_table else (),
        )
        for class_id in shown
    )
    return ConfusionsSection(classes, has_table, largest_confusions(matrix, LARGEST))


def spread_section(facts: RunFacts) -> SpreadSection | None:
    """Return the content of the section; None if no mask is scored."""
    if facts.truth is None or not len(facts.truth.mious):
        return None
    mious = facts.truth.mious
    bars, _ = np.histogram(mious, BARS, (0, 1))
    return SpreadSection(tuple(bars.tolist()), len(mious), float(np.median(mious)), LOW, int((mious < LOW).sum()))


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
