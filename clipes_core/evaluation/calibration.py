"""Compare the confidence of pixels with the share of them that is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clipes_core.confidence import lowest_kept_level
from clipes_core.errors import ShapeError
from clipes_core.pseudo_mask import IGNORE_INDEX

LEVELS = 256  # 8-bit levels of confidence
# Most pixels have a confidence of at least 0.9, so the ranges become narrower towards 1.
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class ConfidenceRange:
    """The pixels whose confidence lies in a range.

    Attributes:
        low: lowest confidence of the range, in [0, 1]. The range ends where the next one begins.
        pixels: number of pixels with a true id, at least one.
        confidence: their mean confidence, in [0, 1].
        accuracy: share of them whose predicted id is the true id, in [0, 1].
    """

    low: float
    pixels: int
    confidence: float
    accuracy: float


def count_by_confidence(
    confidence_u8: np.ndarray, mask: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of a photo, and those of them that are right, at each level of confidence.

    Args:
        confidence_u8: (H, W) uint8, round(255 c), where c in [0, 1] is the confidence of the pixel.
        mask: (H, W) uint8 predicted ids.
        truth: (H, W) uint8 true ids; pixels of IGNORE_INDEX are not counted.

    Returns:
        Number of counted pixels, and number of right pixels: (256,) int64 each.

    Raises:
        ShapeError: the arrays differ in shape, or one of them is not uint8.
    """
    arrays = (confidence_u8, mask, truth)
    if len({each.shape for each in arrays}) > 1 or any(each.dtype != np.uint8 for each in arrays):
        found = ", ".join(f"{each.shape} {each.dtype}" for each in arrays)
        raise ShapeError(f"confidence, mask and truth must be uint8 arrays of the same shape (H, W), got {found}")
    counted = truth != IGNORE_INDEX
    right = counted & (mask == truth)
    return _per_level(confidence_u8[counted]), _per_level(confidence_u8[right])


def _per_level(confidence_u8: np.ndarray) -> np.ndarray:
    return np.bincount(confidence_u8, minlength=LEVELS)


def calibration(counted: np.ndarray, right: np.ndarray) -> tuple[ConfidenceRange, ...]:
    """Return the accuracy of the pixels in each range of confidence. Ranges without pixels are left out.

    Args:
        counted: (256,) int, number of pixels with a true id at each level of confidence.
        right: (256,) int, how many of them are right.
    """
    levels = np.arange(LEVELS) / (LEVELS - 1)
    found = []
    for low, (start, end) in zip(EDGES, pairwise([*map(lowest_kept_level, EDGES), LEVELS]), strict=True):
        pixels = int(counted[start:end].sum())
        if pixels:
            confidence = float(levels[start:end] @ counted[start:end]) / pixels
            found.append(ConfidenceRange(low, pixels, confidence, float(right[start:end].sum()) / pixels))
    return tuple(found)


def calibration_error(ranges: Sequence[ConfidenceRange]) -> float:
    """Return the expected calibration error: the mean difference of confidence and accuracy, weighted by pixels.

    Args:
        ranges: at least one range.

    Returns:
        The error, in [0, 1].

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), eq. (5), with ranges of unequal width.
    """
    pixels = sum(each.pixels for each in ranges)
    return sum(each.pixels * abs(each.confidence - each.accuracy) for each in ranges) / pixels
