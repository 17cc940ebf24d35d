"""The features of a vocabulary's texts, and which of them compete in a photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError

BACKGROUND_ID = 0


@dataclass(frozen=True)
class TextFeatures:
    """Text features of a vocabulary.

    Attributes:
        class_ids: (T,) int; 0 is a background word; a class occurs once per synonym in CAM fusion.
        features: (T, D) float32, L2-normalised.
        logit_scale: CLIP's factor of the cosine, after exp.
    """

    class_ids: np.ndarray
    features: np.ndarray
    logit_scale: float

    def passes(self, class_ids: Sequence[int]) -> np.ndarray:
        """The texts that compete in one photo.

        Args:
            class_ids: (K,) data set ids present in the photo.

        Returns:
            (P, K + M, D) float32: the classes in the given order, then the M background words.
            P is the largest of `text_counts` (1 but for CAM fusion); a class with fewer texts
            starts over, so that it competes in every pass.

        Raises:
            ShapeError: no class, or one without texts.
        """
        return self.features[competitors(self.class_ids, class_ids)]

    def text_counts(self, class_ids: Sequence[int]) -> list[int]:
        """How many texts each class has: so many first `passes` make its CAM and score.

        Args:
            class_ids: (K,) data set ids present in the photo.

        Returns:
            K numbers; each 1 but for CAM fusion, there the number of synonyms.

        Raises:
            ShapeError: no class, or one without texts.
        """
        return text_counts(self.class_ids, class_ids)


def competitors(text_ids: np.ndarray, present: Sequence[int]) -> np.ndarray:
    """The places of the texts that compete in one photo.

    Args:
        text_ids: (T,) int, the class of each text, 0 for a background word.
        present: (K,) data set ids present in the photo.

    Returns:
        (P, K + M) int places in `text_ids`: per pass a text of each class, then the M background words. P is the
        largest of `text_counts`; a class with fewer texts starts over.

    Raises:
        ShapeError: no class, or one without texts.
    """
    rounds = max(text_counts(text_ids, present))
    own = [np.flatnonzero(text_ids == class_id) for class_id in present]
    background = np.flatnonzero(text_ids == BACKGROUND_ID)
    turns = [[*(places[turn % len(places)] for places in own), *background] for turn in range(rounds)]
    return np.asarray(turns, dtype=np.intp)


def text_counts(text_ids: np.ndarray, present: Sequence[int]) -> list[int]:
    """How many texts each of some classes has.

    Args:
        text_ids: (T,) int, the class of each text.
        present: (K,) data set ids.

    Returns:
        K numbers; each 1 but for CAM fusion, there the number of synonyms.

    Raises:
        ShapeError: no class, or one without texts.
    """
    counts = [int((text_ids == class_id).sum()) for class_id in present]
    if not counts or not all(counts):
        raise ShapeError(f"class_ids must be one or more of 1..{text_ids.max()}, which have texts, got {list(present)}")
    return counts
