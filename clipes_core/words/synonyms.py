"""Rank words for a class: how well each word tells photos with the class from photos without it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.template_ranking import mean_ranks
from clipes_core.words.logits import PhotoLogits, softmax_share


@dataclass(frozen=True)
class RankedWord:
    """A word for a class, and its scores. A score is None if there are no photos from which it could be computed.

    Attributes:
        rank: rank of the word among the words of the class, from 1 for the word with the largest `margin`.
        word: the word.
        margin: `share_with` - `share_without`, in [-1, 1]; higher is better. Without photos that lack the class, this
            is `share_with`.
        share_with: mean softmax score of the word on the photos with the class, in [0, 1]; higher is better. The word
            takes the place of the class among the classes of the photo and the background words.
        share_without: the same mean on the photos without the class; lower is better.
        auc: probability that a photo with the class has a larger logit than one without it, in [0, 1]; higher is
            better, 0.5 is chance. It depends on no other text.
        sharpness: CLIP-ES eq. (5) over the photos with the class, with the word in its place; lower is better. None
            if no photo with the class shows another class.
    """

    rank: int
    word: str
    margin: float
    share_with: float
    share_without: float | None
    auc: float | None
    sharpness: float | None


@dataclass(frozen=True)
class PhotoCounts:
    """The numbers of photos that the scores of a class rest on: with it, without it, and with it and another class."""

    with_class: int
    without_class: int
    with_several: int


def count_photos(logits: PhotoLogits, place: int) -> PhotoCounts:
    """Count the photos that the scores of the words of a class rest on.

    Args:
        logits: logits of all photos.
        place: column of the class in `logits.classes`.
    """
    shown = logits.present[:, place]
    several = shown & (logits.present.sum(axis=1) > 1)
    return PhotoCounts(int(shown.sum()), int((~shown).sum()), int(several.sum()))


def rank_words(logits: PhotoLogits, place: int, words: Sequence[str], columns: Sequence[int]) -> list[RankedWord]:
    """Score words for a class, and rank them by `RankedWord.margin`. Equal words are ranked by AUC, then by name.

    Args:
        logits: logits of all photos.
        place: column of the class in `logits.classes`.
        words: the words to rank, each once.
        columns: column of each word in `logits.words`.

    Returns:
        The words with their ranks, the best first.

    Raises:
        ValueError: no photo shows the class.

    Source: the softmax over the classes of a photo and the background words is CLIP-ES eq. (3); the choice of scores
    is ours. The paper chooses synonyms by hand (sec. 3.2).
    """
    shown, rest = logits.present[:, place], logits.log_rest(without_class=place)
    if not shown.any():
        raise ValueError("rank_words needs a photo with the class, got none")
    scored = []
    for word, column in zip(words, columns, strict=True):
        own = logits.words[:, column]
        shares = softmax_share(own, rest)
        inside, outside = float(shares[shown].mean()), float(shares[~shown].mean()) if (~shown).any() else None
        margin, area = inside - (outside or 0.0), _auc(own[shown], own[~shown])
        scored.append((-margin, -(area or 0.0), word, inside, outside, area, _sharpness(logits, place, own, rest)))
    return [
        RankedWord(rank, word, -lost, inside, outside, area, sharp)
        for rank, (lost, _, word, inside, outside, area, sharp) in enumerate(sorted(scored, key=lambda it: it[:3]), 1)
    ]


def _auc(inside: np.ndarray, outside: np.ndarray) -> float | None:
    """Return the probability that a value of `inside` exceeds one of `outside`; equal values count half."""
    if not len(inside) or not len(outside):
        return None
    above = mean_ranks(np.concatenate([inside, outside]))[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def _sharpness(logits: PhotoLogits, place: int, own: np.ndarray, rest: np.ndarray) -> float | None:
    """Return CLIP-ES eq. (5) over the photos with a class, whose logits are replaced by those of a word."""
    shown = logits.present[:, place]
    present, classes = logits.present[shown], logits.classes[shown].copy()
    if not (present.sum(axis=1) > 1).any():
        return None
    classes[:, place] = own[shown]
    total = np.logaddexp(rest, own)[shown]
    scores = np.where(present, np.exp(classes - total[:, None]), 0.0)
    count = present.sum(axis=1)
    mean = scores.sum(axis=1) / count
    variance = (np.where(present, scores - mean[:, None], 0.0) ** 2).sum(axis=1) / count
    return float(variance.sum() / mean.sum())
