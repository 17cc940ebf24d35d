"""Confusions in the rows of artifacts: predictions against the true mask of a photo, and scores of them all pooled."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from clipes.tasks.inputs.photos import load_ids
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.evaluation.metrics import Scores, Triplets, from_triplets, scores_from_confusion, to_triplets

TRIPLET_COLUMNS = ("truth", "prediction", "pixels")


@dataclass(frozen=True)
class PooledScores:
    """Scores over all photos.

    Attributes:
        scores: at the best background power, or the configured one for pseudo masks.
        background_power: which it is; None for the baseline and for a segmenter, which have none.
        images: photos with truth that count.
    """

    scores: Scores
    background_power: float | None
    images: int


def load_truth(uri: str, size_hw: tuple[int, int]) -> np.ndarray:
    """Read the true mask of a photo.

    Args:
        uri: of the mask.
        size_hw: height and width of the photo [px].

    Returns:
        (H, W) uint8.

    Raises:
        PhotoError: as `load_ids`; BAD_TRUTH where it has not the photo's size.
    """
    truth = load_ids(uri)
    if truth.shape != size_hw:
        reason = f"its truth is {truth.shape[1]}x{truth.shape[0]}, the photo {size_hw[1]}x{size_hw[0]}"
        raise PhotoError(ErrorKind.BAD_TRUTH, reason)
    return truth


def sparse_cells(matrix: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """True id, predicted id and pixels of the cells of a confusion matrix that are not zero.

    Args:
        matrix: (1 + K, 1 + K) int64.
    """
    sparse = to_triplets(matrix)
    return zip(sparse.truth.tolist(), sparse.prediction.tolist(), sparse.pixels.tolist(), strict=True)


def photo_miou(row: Mapping[str, Any], num_classes: int) -> float:
    """The mIoU of one photo's prediction.

    Args:
        row: with `TRIPLET_COLUMNS`.
        num_classes: 1 + K.

    Returns:
        In [0, 1]; nan where no pixel has a truth.
    """
    triplets = Triplets(*(np.array(row[name], np.int64) for name in TRIPLET_COLUMNS))
    return scores_from_confusion(from_triplets(triplets, num_classes)).miou


def pooled_segmenter_scores(store: ArtifactStore, uris: Iterable[str], num_classes: int) -> PooledScores | None:
    """Pool the confusions of a segmenter's artifacts and score them.

    Args:
        store: reads the artifacts.
        uris: of the artifacts of all shards of segmenter_scores.
        num_classes: 1 + K.

    Returns:
        The scores; None where no photo with truth was scored.

    Raises:
        ArtifactError: an artifact cannot be read.
    """
    pooled, images = np.zeros((num_classes, num_classes), np.int64), 0
    for uri in uris:
        table = store.read(uri, TRIPLET_COLUMNS)
        images += pc.sum(pc.greater(pc.list_value_length(table["pixels"]), 0)).as_py() or 0
        truth, prediction, pixels = (pc.list_flatten(table[name]).to_numpy() for name in TRIPLET_COLUMNS)
        pooled += from_triplets(Triplets(truth.astype(np.int16), prediction.astype(np.int16), pixels), num_classes)
    return PooledScores(scores_from_confusion(pooled), None, images) if images else None
