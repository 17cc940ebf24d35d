"""Find out which classes are missed, which are found too often, and which are taken for each other."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that are predicted as another class.

    Attributes:
        truth: true id.
        prediction: predicted id, which differs from the true id.
        pixels: number of these pixels.
        share: their share of all pixels with this true id, in [0, 1].
    """

    truth: int
    prediction: int
    pixels: int
    share: float


def precision(matrix: np.ndarray) -> np.ndarray:
    """Return the share of the pixels predicted as each class that are right.

    Args:
        matrix: (1 + K, 1 + K) int confusion matrix; rows are true ids, columns are predicted ids.

    Returns:
        (1 + K,) float64 in [0, 1]; nan for a class that is never predicted.
    """
    return _shares(np.diag(matrix), matrix.sum(axis=0))


def recall(matrix: np.ndarray) -> np.ndarray:
    """Return the share of the true pixels of each class that are found; nan for a class without true pixels.

    Args:
        matrix: see `precision`.

    Returns:
        (1 + K,) float64 in [0, 1].
    """
    return _shares(np.diag(matrix), matrix.sum(axis=1))


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """Divide each row of a confusion matrix by its sum; a row without pixels is nan.

    Args:
        matrix: see `precision`.

    Returns:
        (1 + K, 1 + K) float64 in [0, 1].
    """
    return _shares(matrix, matrix.sum(axis=1, keepdims=True))


def largest_confusions(matrix: np.ndarray, count: int) -> tuple[Confusion, ...]:
    """Return the pairs of classes with the most wrong pixels, the largest first; on a tie, the lower ids first.

    Args:
        matrix: see `precision`.
        count: greatest number of pairs.
    """
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    shares = row_shares(matrix)
    pairs = (divmod(int(place), len(matrix)) for place in order)
    return tuple(
        Confusion(truth, prediction, int(matrix[truth, prediction]), float(shares[truth, prediction]))
        for truth, prediction in pairs
        if wrong[truth, prediction]
    )


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
