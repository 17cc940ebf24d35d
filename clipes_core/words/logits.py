"""The logits of photos for the texts of a vocabulary and for further words, and the softmax shares of these words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError
from clipes_core.text_features import BACKGROUND_ID

FEW_PHOTOS = 10  # a mean over fewer photos is marked as uncertain


@dataclass(frozen=True, eq=False)
class PhotoLogits:
    """The logits of N photos: CLIP's logit scale times the cosine of a photo's embedding and the feature of a text.

    Attributes:
        present: (N, K) bool, the classes that each photo shows.
        classes: (N, K) float64, logits of the classes.
        background: (N, M) float64, logits of the background words.
        words: (N, W) float, logits of the words to score.
    """

    present: np.ndarray
    classes: np.ndarray
    background: np.ndarray
    words: np.ndarray

    def log_rest(self, without_class: int | None = None, without_background: int | None = None) -> np.ndarray:
        """Return, per photo, the log of the sum of the exponentials of all texts that compete with a word.

        These texts are the classes that the photo shows, and the background words.

        Args:
            without_class: column in `classes` of a class whose place the word takes; None if it takes no place.
            without_background: column in `background` of the word itself; None if it is not a background word.

        Returns:
            (N,) float64; -inf for a photo without any other text.
        """
        shown = self.present.copy()
        if without_class is not None:
            shown[:, without_class] = False
        background = self.background
        if without_background is not None:
            background = np.delete(background, without_background, axis=1)
        texts = np.concatenate([np.where(shown, self.classes, -np.inf), background], axis=1)
        return np.logaddexp.reduce(texts, axis=1, initial=-np.inf)


def softmax_share(logits: np.ndarray, log_rest: np.ndarray) -> np.ndarray:
    """Return the softmax score of a text.

    Args:
        logits: (N,) logits of the text.
        log_rest: (N,) logarithms of the sum of the exponentials of all other logits, as `PhotoLogits.log_rest` returns.

    Returns:
        (N,) float64, in [0, 1].
    """
    return np.exp(-np.logaddexp(0.0, log_rest - logits))


def photo_logits(
    class_ids: Sequence[Sequence[int]], text_ids: np.ndarray, text_logits: np.ndarray, word_logits: np.ndarray
) -> PhotoLogits:
    """Sort the logits of texts into those of the classes and those of the background words.

    Args:
        class_ids: N lists of the ids of the photo's classes, 1..K.
        text_ids: (T,) int, class id of each text of the vocabulary; 0 for a background word.
        text_logits: (N, T) logits of these texts. A class with several texts (`prompts.fusion` is `cam`) has the mean
            of their logits.
        word_logits: (N, W) logits of the words to score.

    Raises:
        ShapeError: the arrays do not have the same number of photos or texts.
    """
    if text_logits.shape != (len(class_ids), len(text_ids)) or len(word_logits) != len(class_ids):
        raise ShapeError(
            f"text_logits must be ({len(class_ids)}, {len(text_ids)}) and word_logits ({len(class_ids)}, W), "
            f"got {text_logits.shape} and {word_logits.shape}"
        )
    exact, count = text_logits.astype(np.float64), int(text_ids.max(initial=0))
    own = [exact[:, text_ids == class_id].mean(axis=1) for class_id in range(1, count + 1)]
    present = np.zeros((len(class_ids), count), dtype=bool)
    for photo, ids in enumerate(class_ids):
        present[photo, np.asarray(ids, dtype=np.intp) - 1] = True
    return PhotoLogits(
        present=present,
        classes=np.stack(own, axis=1),
        background=exact[:, text_ids == BACKGROUND_ID],
        words=word_logits,
    )
