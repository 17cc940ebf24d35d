"""The text features of a vocabulary, and the choice of the texts that compete in a photo's softmax."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError

BACKGROUND_ID = 0


@dataclass(frozen=True)
class TextFeatures:
    """Text features of a vocabulary.

    Attributes:
        class_ids: (T,) int, class of each text, 0 for a background word. With CAM fusion, a class has one text per
            synonym.
        features: (T, D) float32, L2-normalised.
        logit_scale: CLIP's logit scale, after exp.
    """

    class_ids: np.ndarray
    features: np.ndarray
    logit_scale: float

    def passes(self, class_ids: Sequence[int]) -> np.ndarray:
        """Return the features of the texts that compete in the softmax of one photo.

        Args:
            class_ids: (K,) data set ids present in the photo.

        Returns:
            (P, K + M, D) float32: in each of P passes one text per class in the given order, then the M background
            words. P is the largest number that `text_counts` returns; without CAM fusion, it is 1. A class with fewer
            than P texts repeats its texts, so that it competes in every pass.

        Raises:
            ShapeError: `class_ids` is empty, or a class has no texts.
        """
        return self.features[competitors(self.class_ids, class_ids)]

    def text_counts(self, class_ids: Sequence[int]) -> list[int]:
        """Count the texts of each class. The CAM and score of a class with n texts come from the first n passes.

        Args:
            class_ids: (K,) data set ids present in the photo.

        Returns:
            K numbers: the number of synonyms with CAM fusion, otherwise 1.

        Raises:
            ShapeError: `class_ids` is empty, or a class has no texts.
        """
        return text_counts(self.class_ids, class_ids)


def competitors(text_ids: np.ndarray, present: Sequence[int]) -> np.ndarray:
    """Find the texts that compete in the softmax of one photo.

    Args:
        text_ids: (T,) int, class of each text, 0 for a background word.
        present: (K,) data set ids present in the photo.

    Returns:
        (P, K + M) int indices into `text_ids`: in each of P passes one text per class, then the M background words.
        P is the largest number that `text_counts` returns. A class with fewer than P texts repeats its texts.

    Raises:
        ShapeError: `present` is empty, or a class has no texts.
    """
    rounds = max(text_counts(text_ids, present))
    own = [np.flatnonzero(text_ids == class_id) for class_id in present]
    background = np.flatnonzero(text_ids == BACKGROUND_ID)
    turns = [[*(places[turn % len(places)] for places in own), *background] for turn in range(rounds)]
    return np.asarray(turns, dtype=np.intp)


def text_counts(text_ids: np.ndarray, present: Sequence[int]) -> list[int]:
    """Count the texts of each present class.

    Args:
        text_ids: (T,) int, class of each text.
        present: (K,) data set ids.

    Returns:
        K numbers: the number of synonyms with CAM fusion, otherwise 1.

    Raises:
        ShapeError: `present` is empty, or a class has no texts.
    """
    counts = [int((text_ids == class_id).sum()) for class_id in present]
    if not counts or not all(counts):
        raise ShapeError(f"class_ids must be one or more of 1..{text_ids.max()} with texts, got {list(present)}")
    return counts
