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

    def pairs(self, class_ids: Sequence[Sequence[int]]) -> "TextPairs":
        """List the texts of the classes of a batch of photos, and the competitors of each text.

        Args:
            class_ids: B lists, one per photo, each with the ids of the photo's K >= 1 different classes.

        Raises:
            ShapeError: a photo has no classes, or a class has no texts.
        """
        counts = [text_counts(self.class_ids, present) for present in class_ids]
        photos, texts, competing = [], [], []
        for photo, (present, per_class) in enumerate(zip(class_ids, counts, strict=True)):
            passes = competitors(self.class_ids, present)
            for place, count in enumerate(per_class):
                photos += [photo] * count
                texts += passes[:count, place].tolist()
                competing += list(passes[:count])
        competes = np.zeros((len(texts), len(self.class_ids)), dtype=bool)
        for row, of_pass in zip(competes, competing, strict=True):
            row[of_pass] = True
        return TextPairs(np.asarray(photos), np.asarray(texts), competes, counts)


@dataclass(frozen=True)
class TextPairs:
    """The S pairs of a photo and a text of one of its classes, in a batch of B photos.

    The pairs are ordered photo by photo, and class by class within a photo.

    Attributes:
        photos: (S,) int, index of the photo.
        texts: (S,) int, index of the text.
        competes: (S, T) bool. Row s marks the texts that take part in the softmax of pair s, including its own text.
        counts: B lists, one per photo, with the number of texts of each class of the photo.
    """

    photos: np.ndarray
    texts: np.ndarray
    competes: np.ndarray
    counts: list[list[int]]

    @property
    def per_class(self) -> list[int]:
        """The number of pairs of each class of each photo, photo by photo."""
        return [count for of_photo in self.counts for count in of_photo]

    @property
    def per_photo(self) -> list[int]:
        """The number of pairs of each photo."""
        return [sum(of_photo) for of_photo in self.counts]


def competitors(text_ids: np.ndarray, present: Sequence[int]) -> np.ndarray:
    """Find the texts that compete in the softmax of one photo.

    Args:
        text_ids: (T,) int, class id of each text; 0 for a background word.
        present: (K,) ids of the photo's classes.

    Returns:
        (P, K + M) int: indices into `text_ids` for P passes. Each pass is a separate softmax. A pass has one text per
        class, in the order of `present`, followed by the M background words. P is the number of texts of the class with
        the most texts. A class with fewer than P texts repeats its texts, so that it competes in every pass. The score
        of a class with n texts is the mean over the first n passes.

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
