"""Run lengths: the lengths of the runs of equal pixels in a binary mask."""

from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError


def run_lengths(pixels: np.ndarray) -> np.ndarray:
    """Return the lengths of the runs of equal pixels. The first run is one of False pixels, and may be empty.

    Args:
        pixels: (N,) bool.

    Returns:
        (R,) int64, lengths of runs of False, True, False ... pixels, with the sum N.

    Raises:
        ShapeError: `pixels` is not a one-dimensional array of bool.
    """
    if pixels.ndim != 1 or pixels.dtype != bool:
        raise ShapeError(f"pixels must be (N,) bool, got {pixels.shape} {pixels.dtype}")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [len(pixels)]]))
    return np.concatenate([[0], lengths]) if pixels[:1].any() else lengths


@dataclass(frozen=True, eq=False)
class CroppedRuns:
    """The run lengths of a binary mask within the smallest rectangle that contains its True pixels.

    Attributes:
        left: first column of the rectangle [px].
        top: first row of the rectangle [px].
        width: number of columns [px].
        height: number of rows [px].
        lengths: `run_lengths` of the pixels of the rectangle, row by row.
    """

    left: int
    top: int
    width: int
    height: int
    lengths: np.ndarray


def cropped_runs(mask: np.ndarray) -> CroppedRuns:
    """Return the run lengths of a binary mask in its bounding rectangle, as CVAT stores masks.

    Args:
        mask: (H, W) bool, with at least one True pixel.

    Raises:
        ShapeError: `mask` is not (H, W) bool, or has no True pixel.
    """
    if mask.ndim != 2 or mask.dtype != bool or not mask.any():
        raise ShapeError(f"mask must be (H, W) bool with a True pixel, got {mask.shape} {mask.dtype}")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left, height, width = rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1
    inside = mask[top : top + height, left : left + width]
    return CroppedRuns(int(left), int(top), int(width), int(height), run_lengths(inside.ravel()))
