"""The scale of the features and the keys of the vertices, which do not depend on how a photo is filtered."""

import math

import numpy as np

from clipes_core.errors import ErrorKind, PhotoError

MARGIN = 8  # steps from a pixel's vertex X to its other vertices, to their neighbours, and for rounding
MOST_CELLS = 2**62  # of a lattice, such that keys and sums of keys fit into 64 bits


def scale_factors(dimensions: int) -> np.ndarray:
    """Return the factor of each feature, such that the blur of the lattice has standard deviation 1.

    Args:
        dimensions: d, the number of features.

    Returns:
        (d,) float32.
    """
    deviation = float(np.float32(math.sqrt(2 / 3) * (dimensions + 1)))
    return np.array([deviation / math.sqrt((j + 1) * (j + 2)) for j in range(dimensions)], np.float32)


def cell_counts(largest: tuple[np.floating, ...]) -> tuple[int, ...]:
    """Return, for each of the d lattice coordinates, the number of cells around a photo.

    Args:
        largest: largest value of each of the d features of a photo; the smallest is 0.

    Raises:
        PhotoError: TOO_LARGE if there are so many cells that the keys do not fit into 64 bits.
    """
    dimensions = len(largest)
    c = np.array(largest) * scale_factors(dimensions)
    counts = []
    for j in range(dimensions):
        # R_d - R_j is about (coordinate d - coordinate j) / (d + 1)
        difference = [0.0] * dimensions
        difference[-1] -= dimensions
        for k in range(j, dimensions):
            difference[k] -= 1
        if j:
            difference[j - 1] += j
        extent = np.abs(c * difference).sum() / (dimensions + 1)
        counts.append(math.ceil(extent) + MARGIN)
    if math.prod(counts) >= MOST_CELLS:
        raise PhotoError(
            ErrorKind.TOO_LARGE,
            "the photo is too large for the standard deviations of the CRF: the lattice needs more than 2^62 cells; "
            "raise crf.pos_xy_std, crf.bi_xy_std or crf.bi_rgb_std",
        )
    return tuple(counts)


def key_strides(largest: tuple[np.floating, ...]) -> np.ndarray:
    """Choose strides such that all vertices near a photo have different keys.

    Args:
        largest: largest value of each of the d features of a photo; the smallest is 0.

    Returns:
        (d,) int64.

    Raises:
        PhotoError: TOO_LARGE if the keys do not fit into 64 bits.
    """
    return np.cumprod((1, *cell_counts(largest)[:-1]), dtype=np.int64)


def axis_moves(strides: np.ndarray) -> np.ndarray:
    """Return the (d + 1,) int64 change of the key by a move along each axis."""
    return np.append(strides, -strides.sum())
