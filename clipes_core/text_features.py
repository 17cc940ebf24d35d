"""Text features of a vocabulary, and the selection of the texts that compete in the softmax of a photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError

BACKGROUND_ID = 0


@dataclass(frozen=True)
class TextFeatures:
    """Text features of a vocabulary.

    Attributes:
        class_ids: (T,) int, class id of each text; 0 for a background word. With CAM fusion (`prompts.fusion` is
            `cam`), a class has one text per synonym. Otherwise, each class has one text.
        features: (T, D) float32, L2-normalised.
        logit_scale: CLIP's logit scale, after exp.
    """

    class_ids: np.ndarray
    features: np.ndarray
    logit_scale: float

    def passes(self, class_ids: Sequence[int]) -> np.ndarray:
        """Return the features of the texts that compete in the softmax of one photo.

        Args:
            class_ids: (K,) ids of the photo's classes.

        Returns:
            (P, K + M, D) float32 features of P passes. Each pass is a separate softmax. A pass has one text per class,
            in the order of `class_ids`, followed by the M background words. P is the number of texts of the
            class with the most texts. A class with fewer than P texts repeats its texts, so that it competes in every
            pass.

        Raises:
            ShapeError: `class_ids` is empty, or a class has no texts.
        """
        return self.features[competitors(self.class_ids, class_ids)]

    def text_counts(self, class_ids: Sequence[int]) -> list[int]:
        """Return the number of texts of each class of a photo.

        Args:
            class_ids: (K,) ids of the photo's classes.

        Returns:
            K numbers: with CAM fusion, the number of synonyms of each class; otherwise 1 for each class.

        Raises:
            ShapeError: `class_ids` is empty, or a class has no texts.
        """
        return text_counts(self.class_ids, class_ids)


def competitors(text_ids: np.ndarray, present: Sequence[int]) -> np.ndarray:
    """Find the texts that compete in the softmax of one photo.

    Args:
        text_ids: (T,) int, class id of each text; 0 for a background word.
        present: (K,) ids of the photo's classes.

    Returns:
        (P, K + M) int: indices into `text_ids`. For the P passes and the M background words, see `TextFeatures.passes`.

    Raises:
        ShapeError: `present` is empty, or a class has no texts.
    """
    rounds = max(text_counts(text_ids, present))
    own = [np.flatnonzero(text_ids == class_id) for class_id in present]
    background = np.flatnonzero(text_ids == BACKGROUND_ID)
    turns = [[*(places[turn % len(places)] for places in own), *background] for turn in range(rounds)]
    return np.asarray(turns, dtype=np.intp)


def text_counts(text_ids: np.ndarray, present: Sequence[int]) -> list[int]:
    """Count the texts of each class of a photo.

    Args:
        text_ids: (T,) int, class id of each text; 0 for a background word.
        present: (K,) ids of the photo's classes.

    Returns:
        K numbers: with CAM fusion, the number of synonyms of each class; otherwise 1 for each class.

    Raises:
        ShapeError: `present` is empty, or a class has no texts.
    """
    counts = [int((text_ids == class_id).sum()) for class_id in present]
    if not counts or not all(counts):
        raise ShapeError(
            f"class_ids must be one or more ids in 1..{text_ids.max()} that have texts, got {list(present)}"
        )
    return counts
