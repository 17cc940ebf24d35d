"""Compute segmentation scores from a confusion matrix that counts the pixels of all photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ErrorKind, PhotoError, ShapeError
from clipes_core.pseudo_mask import IGNORE_INDEX, background_score


@dataclass(frozen=True, eq=False)
class Triplets:
    """The non-zero cells of a confusion matrix.

    Attributes:
        truth: (M,) int16, row of each cell; equals the true id.
        prediction: (M,) int16, column of each cell; equals the predicted id.
        pixels: (M,) int64, number of pixels in each cell.
    """

    truth: np.ndarray
    prediction: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """Segmentation scores, each in [0, 1]; nan if no pixel was counted.

    The means are taken over the classes that occur in the true masks, including the background.

    Attributes:
        miou: mean of `class_iou`.
        pixel_accuracy: share of the counted pixels that are predicted correctly.
        mean_accuracy: mean accuracy of the classes. The accuracy of a class is the share of its pixels in the true
            masks that are predicted correctly.
        fwiou: mean of `class_iou`, weighted by the number of pixels of each class in the true masks.
        class_iou: (1 + K,) float64, IoU of the background and then of each class; nan for a class that does not occur
            in the true masks.
    """

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float
    class_iou: np.ndarray


def confusion(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of one photo for each pair of true id and predicted id.

    Args:
        truth: (H, W) uint8, ids 0..K; pixels of IGNORE_INDEX are not counted.
        prediction: (H, W) uint8, ids 0..K.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        (1 + K, 1 + K) int64 numbers of pixels; rows are true ids, columns are predicted ids.

    Raises:
        ShapeError: an array is not (H, W) uint8, the sizes differ, or a counted pixel has a predicted id above K.
        PhotoError: BAD_TRUTH if `truth` has an id above K other than IGNORE_INDEX.
    """
    _check_map("truth", truth)
    _check_map("prediction", prediction)
    if truth.shape != prediction.shape:
        raise ShapeError(f"truth {truth.shape} and prediction {prediction.shape} must have the same size")
    counted = _counted(truth, num_classes)
    predicted = prediction[counted]
    if predicted.max(initial=0) >= num_classes:
        raise ShapeError(f"prediction has id {predicted.max()}, but the classes are 0..{num_classes - 1}")
    return _count(truth[counted], predicted, num_classes)


def _check_map(name: str, ids: np.ndarray) -> None:
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise ShapeError(f"{name} must be (H, W) uint8, got {ids.shape} {ids.dtype}")


def _counted(truth: np.ndarray, num_classes: int) -> np.ndarray:
    counted = truth != IGNORE_INDEX
    highest = truth.max(where=counted, initial=0)
    if highest >= num_classes:
        reason = f"truth has id {highest}, but valid ids are 0..{num_classes - 1} and {IGNORE_INDEX} (ignored)"
        raise PhotoError(ErrorKind.BAD_TRUTH, reason)
    return counted


def _count(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    cells = truth.astype(np.int64) * num_classes + prediction
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def cam_confusions(
    cams: np.ndarray, class_ids: np.ndarray, truth: np.ndarray, powers: Sequence[float], num_classes: int
) -> np.ndarray:
    """Compute the confusion matrices of a photo's CAMs, without a CRF, for several background powers.

    Args:
        cams: (K, H, W) float at the truth's size, in [0, 1]; K may be 0.
        class_ids: (K,) int, class ids in the order of `cams`.
        truth: (H, W) uint8, ids below `num_classes`; pixels of IGNORE_INDEX are not counted.
        powers: background powers p; a pixel is background if (1 - max CAM)^p >= max CAM.
        num_classes: number of classes of the vocabulary, plus 1 for the background.

    Returns:
        (len(powers), num_classes, num_classes) int64, one confusion matrix per power. The CAMs and the power determine
        a mask, and the matrix is the result of `confusion` for this mask.

    Raises:
        ShapeError: `truth` is not (H, W) uint8, the sizes differ, or an id in `class_ids` is not in
            [1, num_classes - 1].
        PhotoError: BAD_TRUTH, as for `confusion`.

    Source: the published program's eval_cam.py, which scores CAMs at the best power.
    """
    _check_map("truth", truth)
    if cams.ndim != 3 or cams.shape != (*class_ids.shape, *truth.shape):
        raise ShapeError(f"cams must be (K, H, W) for ids {class_ids.shape} and truth {truth.shape}, got {cams.shape}")
    if not all(1 <= class_id < num_classes for class_id in class_ids.tolist()):
        raise ShapeError(f"class_ids must be in [1, {num_classes - 1}], got {class_ids.tolist()}")
    counted = _counted(truth, num_classes)
    peak = cams.max(axis=0, initial=0)[counted]
    best_id = _best_ids(cams, class_ids)[counted]
    predictions = (np.where(background_score(peak, power) >= peak, 0, best_id) for power in powers)
    return np.stack([_count(truth[counted], ids, num_classes) for ids in predictions])


def _best_ids(cams: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    if len(class_ids) == 0:
        return np.zeros(cams.shape[1:], np.uint8)
    return class_ids.astype(np.uint8)[cams.argmax(axis=0)]


def to_triplets(matrix: np.ndarray) -> Triplets:
    """List the non-zero cells of a confusion matrix.

    Args:
        matrix: (1 + K, 1 + K) int64.

    Returns:
        The cells, ordered row by row.
    """
    truth, prediction = np.nonzero(matrix)
    return Triplets(truth.astype(np.int16), prediction.astype(np.int16), matrix[truth, prediction])


def from_triplets(triplets: Triplets, num_classes: int) -> np.ndarray:
    """Rebuild a confusion matrix from its non-zero cells.

    Args:
        triplets: cells of one photo, or the concatenated cells of several photos. Values of the same cell are added up.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        (1 + K, 1 + K) int64. For the cells of several photos, it is the sum of the matrices of these photos.

    Raises:
        ShapeError: an id is outside 0..K.
    """
    ids = np.concatenate([triplets.truth, triplets.prediction])
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= num_classes:
        raise ShapeError(f"triplets have ids {ids.min()}..{ids.max()}, but the classes are 0..{num_classes - 1}")
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (triplets.truth, triplets.prediction), triplets.pixels)
    return matrix


def scores_from_confusion(matrix: np.ndarray) -> Scores:
    """Compute the segmentation scores from a confusion matrix, usually the sum of the matrices of all photos.

    Args:
        matrix: (1 + K, 1 + K) int; rows are true ids, columns are predicted ids.

    Returns:
        The scores; all nan if no pixel was counted.

    Raises:
        ShapeError: `matrix` is not square.

    Source: the published program, which also adds up the pixels of all photos in one matrix. In the published program
    and in clipes, the means leave out each class that does not occur in the true masks.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"confusion matrix must be square, got {matrix.shape}")
    right, true = np.diag(matrix), matrix.sum(axis=1)
    held = true > 0
    class_iou = np.full(len(matrix), np.nan)
    class_iou[held] = right[held] / (true + matrix.sum(axis=0) - right)[held]
    return Scores(
        miou=_mean(class_iou[held], np.ones(held.sum())),
        pixel_accuracy=_mean(right[held] / true[held], true[held]),
        mean_accuracy=_mean(right[held] / true[held], np.ones(held.sum())),
        fwiou=_mean(class_iou[held], true[held]),
        class_iou=class_iou,
    )


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights)) if len(values) else float("nan")
