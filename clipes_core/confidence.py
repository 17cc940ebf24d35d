"""The confidence of each pixel of a pseudo mask, computed from the CRF's posterior or from the CAMs."""

from itertools import pairwise

import numpy as np

from clipes_core.errors import ShapeError

PAPER_MU = 0.95  # CLIP-ES eq. (9): the training ignores pixels of lower confidence


def confidence_from_posterior(posterior: np.ndarray) -> np.ndarray:
    """Return the largest probability of each pixel as its confidence.

    Args:
        posterior: (1 + K, H, W) float, in [0, 1]; channel 0 is background.

    Returns:
        (H, W) float, in [0, 1].

    Raises:
        ShapeError: `posterior` does not have three axes, or has no channel.

    Source: the published program, which takes the maximum of the CRF's posterior (the paper's eq. 8 uses the CAMs).
    """
    if posterior.ndim != 3 or len(posterior) == 0:
        raise ShapeError(f"posterior must be (1 + K, H, W), got {posterior.shape}")
    return posterior.max(axis=0)


def confidence_from_cams(cams: np.ndarray) -> np.ndarray:
    """Return max(1 - s, s) as the confidence of each pixel, where s is the highest CAM value at the pixel.

    Args:
        cams: (K, H, W) float, in [0, 1]. If K is 0, the confidence is 1 everywhere.

    Returns:
        (H, W) float, in [0.5, 1].

    Raises:
        ShapeError: `cams` does not have three axes.

    Source: CLIP-ES sec. 3.4, eq. (8).
    """
    if cams.ndim != 3:
        raise ShapeError(f"cams must be (K, H, W), got {cams.shape}")
    peak = cams.max(axis=0, initial=0)
    return np.maximum(1 - peak, peak)


def quantise(confidence: np.ndarray) -> np.ndarray:
    """Round a confidence map to 8-bit levels. Artifacts store these levels. Thresholds are compared with these levels.

    Args:
        confidence: (H, W) float, in [0, 1].

    Returns:
        (H, W) uint8, 255 times the confidence, rounded.
    """
    return np.rint(255 * confidence).astype(np.uint8)


def lowest_kept_level(mu: float) -> int:
    """Find the smallest 8-bit level whose confidence, level / 255, is at least a threshold.

    The comparison uses floats. It is reliable for decimal thresholds: for example, 51 / 255 and 0.2 are the same float.

    Args:
        mu: threshold, in [0, 1].

    Returns:
        The level, in [0, 255].

    Source: CLIP-ES sec. 3.4, eq. (9): mu = 0.95, which is level 243.
    """
    return int(np.count_nonzero(np.arange(256) / 255 < mu))


def histogram(confidence_u8: np.ndarray) -> np.ndarray:
    """Count the pixels of a confidence map at each 8-bit level.

    Args:
        confidence_u8: (H, W) uint8.

    Returns:
        (256,) int64, number of pixels at each level.

    Raises:
        ShapeError: `confidence_u8` is not (H, W) uint8.
    """
    if confidence_u8.ndim != 2 or confidence_u8.dtype != np.uint8:
        raise ShapeError(f"confidence must be (H, W) uint8, got {confidence_u8.shape} {confidence_u8.dtype}")
    return np.bincount(confidence_u8.ravel(), minlength=256)


def share_at_least(counts: np.ndarray, mu: float) -> float:
    """Compute the share of pixels whose confidence is at least a threshold.

    Args:
        counts: (256,) int, number of pixels at each 8-bit level; at least one pixel in total.
        mu: threshold, in [0, 1].

    Returns:
        Share of the pixels whose confidence is at least `mu`, in [0, 1].
    """
    return float(counts[lowest_kept_level(mu) :].sum() / counts.sum())


def shares_by_confidence(counts: np.ndarray, bins: int) -> np.ndarray:
    """Compute the share of pixels in each bin of confidence.

    Args:
        counts: (256,) int, number of pixels at each 8-bit level; at least one pixel in total.
        bins: number of bins of equal width that cover [0, 1]. A confidence on the border of two bins belongs to the
            upper bin.

    Returns:
        (bins,) float, shares in [0, 1] that add up to 1.
    """
    edges = [lowest_kept_level(part / bins) for part in range(bins)] + [256]
    parts = [counts[start:end].sum() for start, end in pairwise(edges)]
    return np.array(parts) / counts.sum()


def mean_confidence(counts: np.ndarray) -> float:
    """Compute the mean confidence of the pixels in a histogram.

    Args:
        counts: (256,) int, number of pixels at each 8-bit level; at least one pixel in total.

    Returns:
        The mean confidence, in [0, 1].
    """
    return float(np.average(np.arange(256) / 255, weights=counts))
