"""Measure which background words CLIP sees in the photos of which class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.words.logits import PhotoLogits, softmax_share

EXAMPLES = 3


@dataclass(frozen=True)
class Firing:
    """How strongly a background word fires on the photos of a class.

    In each photo, the word takes part in the softmax with the classes of the photo and the background words. It fires
    if its score exceeds an even part, which is 1 divided by the number of these texts.

    Attributes:
        place: column of the class in `PhotoLogits.classes`.
        word: the word.
        photos: number of photos with the class.
        fires: fraction of these photos on which the word fires, in [0, 1].
        beats: fraction of these photos in which the word has a larger score than the class, in [0, 1].
        share: mean softmax score of the word on these photos, in [0, 1].
        even: mean of the even parts of these photos, with which `share` can be compared.
        share_elsewhere: the same mean on the photos without the class; None if there are no such photos.
        examples: indices of the photos with the class in which the score of the word is largest, the largest first. All
            of them are photos on which the word fires.
    """

    place: int
    word: str
    photos: int
    fires: float
    beats: float
    share: float
    even: float
    share_elsewhere: float | None
    examples: tuple[int, ...]


def firings(logits: PhotoLogits, words: Sequence[str], known: Sequence[int | None]) -> list[Firing]:
    """Measure how strongly each word fires on the photos of each class that a photo shows.

    Args:
        logits: logits of all photos, with one column in `words` per word.
        words: the words.
        known: for each word, its column in `logits.background`; None for a word that is not a background word yet.

    Returns:
        For each class that a photo shows, one entry per word, the largest `share` first.

    Source: the softmax of CLIP-ES eq. (3); the choice of what to measure is ours.
    """
    alone = logits.log_rest()
    texts = logits.present.sum(axis=1) + logits.background.shape[1]
    found = []
    for column, (word, own_place) in enumerate(zip(words, known, strict=True)):
        rest = alone if own_place is None else logits.log_rest(without_background=own_place)
        shares = softmax_share(logits.words[:, column], rest)
        even = 1 / (texts + (own_place is None))
        found += [_firing(logits, place, word, column, shares, even) for place in _shown_classes(logits)]
    return sorted(found, key=lambda each: (each.place, -each.share, each.word))


def _shown_classes(logits: PhotoLogits) -> list[int]:
    return np.flatnonzero(logits.present.any(axis=0)).tolist()


def _firing(logits: PhotoLogits, place: int, word: str, column: int, shares: np.ndarray, even: np.ndarray) -> Firing:
    shown, fires = logits.present[:, place], shares > even
    beats = logits.words[shown, column] > logits.classes[shown, place]
    firing = np.flatnonzero(shown & fires)
    strongest = firing[np.argsort(-shares[firing], kind="stable")][:EXAMPLES]
    return Firing(
        place=place,
        word=word,
        photos=int(shown.sum()),
        fires=float(fires[shown].mean()),
        beats=float(beats.mean()),
        share=float(shares[shown].mean()),
        even=float(even[shown].mean()),
        share_elsewhere=float(shares[~shown].mean()) if (~shown).any() else None,
        examples=tuple(strongest.tolist()),
    )
