"""The text features of a vocabulary, and the texts that compete in a photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError

BACKGROUND_ID = 0


@dataclass(frozen=True)
class TextFeatures:
    """Text features of a vocabulary.

    Attributes:
        class_ids: (T,) int, the class of each text, 0 for a background word; with CAM fusion a class has a text per
            synonym.
        features: (T, D) float32, L2-normalised.
        logit_scale: CLIP's logit scale, after exp.
    """

    class_ids: np.ndarray
    features: np.ndarray
    logit_scale: float

    def passes(self, class_ids: Sequence[int]) -> np.ndarray:
        """Return the features of the texts that compete in one photo.

        Args:
            class_ids: (K,) data set ids present in the photo.

        Returns:
            (P, K + M, D) float32: the classes in the given order, then the M background words. The number P of passes
            is the largest of `text_counts`, 1 without CAM fusion. A class with fewer texts repeats them, so that it
            competes in every pass.

        Raises:
            ShapeError: no class, or a class without texts.
        """
        return self.features[competitors(self.class_ids, class_ids)]

    def text_counts(self, class_ids: Sequence[int]) -> list[int]:
        """Count the texts of each class, which is also the number of first passes that make its CAM and score.

        Args:
            class_ids: (K,) data set ids present in the photo.

        Returns:
            K numbers: 1, or the number of synonyms with CAM fusion.

        Raises:
            ShapeError: no class, or a class without texts.
        """
        return text_counts(self.class_ids, class_ids)


def competitors(text_ids: np.ndarray, present: Sequence[int]) -> np.ndarray:
    """Find the texts that compete in one photo.

    Args:
        text_ids: (T,) int, the class of each text, 0 for a background word.
        present: (K,) data set ids present in the photo.

    Returns:
        (P, K + M) int places in `text_ids`: per pass a text of each class, then the M background words. P is the
        largest of `text_counts`; a class with fewer texts repeats them.

    Raises:
        ShapeError: no class, or a class without texts.
    """
    rounds = max(text_counts(text_ids, present))
    own = [np.flatnonzero(text_ids == class_id) for class_id in present]
    background = np.flatnonzero(text_ids == BACKGROUND_ID)
    turns = [[*(places[turn % len(places)] for places in own), *background] for turn in range(rounds)]
    return np.asarray(turns, dtype=np.intp)


def text_counts(text_ids: np.ndarray, present: Sequence[int]) -> list[int]:
    """Count the texts of each present class.

    Args:
        text_ids: (T,) int, the class of each text.
        present: (K,) data set ids.

    Returns:
        K numbers: 1, or the number of synonyms with CAM fusion.

    Raises:
        ShapeError: no class, or a class without texts.
    """
    counts = [int((text_ids == class_id).sum()) for class_id in present]
    if not counts or not all(counts):
        raise ShapeError(f"class_ids must be one or more of 1..{text_ids.max()} with texts, got {list(present)}")
    return counts
