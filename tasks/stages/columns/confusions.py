"""Encode and decode the columns that store confusion matrices between predicted masks and true masks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

TRIPLET_COLUMNS = ("truth", "prediction", "pixels")


def sparse_cells(matrix: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield the true id, the predicted id and the number of pixels of each non-zero cell of a confusion matrix.

    Args:
        matrix: (1 + K, 1 + K) int64 confusion matrix.
    """
    from clipes_core.evaluation.metrics import to_triplets

    sparse = to_triplets(matrix)
    return zip(sparse.truth.tolist(), sparse.prediction.tolist(), sparse.pixels.tolist(), strict=True)


def cell_columns(names: Sequence[str], cells: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Turn the cells of a photo's confusion matrices into values for the photo's row in the artifact.

    Args:
        names: name of each column.
        cells: the cells; each is a tuple with one value per column.

    Returns:
        Name of each column -> its values, one per cell. If there are no cells, the dict is empty.
    """
    columns = tuple(zip(*cells, strict=True))
    return dict(zip(names, columns, strict=True)) if columns else {}


def photo_miou(row: Mapping[str, Any], num_classes: int) -> float:
    """Compute the mIoU of the prediction for one photo.

    Args:
        row: row of the photo, with the columns `TRIPLET_COLUMNS`.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        The mIoU in [0, 1]; nan if no pixel has a true id.
    """
    from clipes_core.evaluation.metrics import Triplets, from_triplets, scores_from_confusion

    triplets = Triplets(*(np.array(row[name], np.int64) for name in TRIPLET_COLUMNS))
    return scores_from_confusion(from_triplets(triplets, num_classes)).miou
