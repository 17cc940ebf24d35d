"""Confusions in the rows of artifacts: predictions against the true mask of a photo."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

TRIPLET_COLUMNS = ("truth", "prediction", "pixels")


def sparse_cells(matrix: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield true id, predicted id and pixels of the cells of a confusion matrix that are not zero.

    Args:
        matrix: (1 + K, 1 + K) int64.
    """
    from clipes_core.evaluation.metrics import to_triplets

    sparse = to_triplets(matrix)
    return zip(sparse.truth.tolist(), sparse.prediction.tolist(), sparse.pixels.tolist(), strict=True)


def photo_miou(row: Mapping[str, Any], num_classes: int) -> float:
    """Return the mIoU of one photo's prediction.

    Args:
        row: with `TRIPLET_COLUMNS`.
        num_classes: 1 + K.

    Returns:
        In [0, 1]; nan if no pixel has a truth.
    """
    from clipes_core.evaluation.metrics import Triplets, from_triplets, scores_from_confusion

    triplets = Triplets(*(np.array(row[name], np.int64) for name in TRIPLET_COLUMNS))
    return scores_from_confusion(from_triplets(triplets, num_classes)).miou
