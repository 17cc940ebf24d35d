"""Score candidate templates on photos, rank the templates by sharpness, and choose some of the ranked templates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clipes_core.errors import ShapeError
from clipes_core.finite import OF_CLIP, check_finite
from clipes_core.text_features import competitors, text_counts


@dataclass(frozen=True, eq=False)
class CandidateFeatures:
    """The features of the S texts of a vocabulary, computed separately for each of T templates.

    Attributes:
        class_ids: (S,) int, class id of each text; 0 for a background word.
        features: (T, S, D) float32, L2-normalised.
    """

    class_ids: np.ndarray
    features: np.ndarray

    def scores(self, embedding: np.ndarray, present: Sequence[int], logit_scale: float) -> np.ndarray:
        """Compute the score that each template gives to each class of a photo.

        Args:
            embedding: (D,) float image embedding of the photo, not normalised.
            present: (K,) ids of the photo's classes.
            logit_scale: CLIP's logit scale, after exp.

        Returns:
            (T, K) float64: softmax over the photo's classes and the background words. With CAM fusion
            (`prompts.fusion` is `cam`), the score of a class is the mean over its synonyms.

        Raises:
            ShapeError: `present` is empty, a class has no texts, or `embedding` is not (D,).
            PhotoError: NOT_FINITE if a score contains NaN or infinity.

        Source: CLIP-ES: s in eq. (5) of sec. 3.2, computed with the softmax of eq. (3).
        """
        if embedding.shape != self.features.shape[2:]:
            raise ShapeError(f"embedding must be {self.features.shape[2:]} like a text feature, got {embedding.shape}")
        exact = embedding.astype(np.float64)
        logits = logit_scale * (self.features @ (exact / np.linalg.norm(exact)))
        in_passes = _softmax(logits[:, competitors(self.class_ids, present)])  # (T, P, K + M)
        counts = text_counts(self.class_ids, present)
        scores = np.stack([in_passes[:, :count, place].mean(axis=1) for place, count in enumerate(counts)], axis=1)
        check_finite(scores, "a score", OF_CLIP)
        return scores


def sharpness(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Compute the sharpness of each template: how much the template's scores vary between the classes of a photo.

    Args:
        scores: one (T, K) array per photo: the scores that T templates give to the photo's K classes. The scores come
            from a softmax over these classes and the background words. A photo without classes (K = 0) is skipped.
            The function reads one array at a time, and does not hold earlier arrays in memory.

    Returns:
        (T,) float64; lower is better. For each photo, the function computes the variance and the mean of the K scores.
        The sharpness of a template is the sum of the variances of all photos, divided by the sum of the means. The
        variance is the population variance, so a photo with one class adds 0 to the sum of the variances.

    Raises:
        ValueError: no photo has a class.

    Source: CLIP-ES sec. 3.2, eq. (5). The authors' code for this equation is lost. The population variance, and the
    softmax over the photo's classes and the background words, are our choices.
    """
    variance, mean, photos = np.zeros(1), np.zeros(1), 0
    for photo in scores:
        if photo.shape[-1]:
            photos += 1
            exact = np.asarray(photo, dtype=np.float64)
            variance, mean = variance + exact.var(axis=-1), mean + exact.mean(axis=-1)
    if not photos:
        raise ValueError("sharpness needs at least one photo with a class, got none")
    return variance / mean


@dataclass(frozen=True)
class RankedTemplate:
    """A template and its rank.

    Attributes:
        rank: rank of the template. Rank 1 is the best template, which has the lowest sharpness.
        template: the template, in which {} stands for the class words.
        sharpness: value of CLIP-ES eq. (5) for the template; lower is better.
    """

    rank: int
    template: str
    sharpness: float


def rank_templates(templates: Sequence[str], sharpness: Iterable[float]) -> tuple[RankedTemplate, ...]:
    """Rank templates by sharpness, the lowest value first. Templates of equal sharpness are in alphabetical order.

    Args:
        templates: T different templates.
        sharpness: sharpness of each template.

    Returns:
        The templates with their ranks, the best first.
    """
    ordered = sorted(zip(map(float, sharpness), templates, strict=True))
    return tuple(RankedTemplate(rank, template, value) for rank, (value, template) in enumerate(ordered, start=1))


def evenly_spaced_positions(count: int, sample: int) -> tuple[int, ...]:
    """Choose evenly spaced positions in a sequence, including the first, the middle and the last.

    Args:
        count: length of the sequence.
        sample: number of positions to choose, at least 2.

    Returns:
        Positions in [0, count), ascending; all positions if `count` is at most `sample`. If the middle position is not
        among the evenly spaced ones, it is added. The result then has `sample` + 1 positions.
    """
    if count <= sample:
        return tuple(range(count))
    even = np.rint(np.linspace(0, count - 1, sample)).astype(int).tolist()
    return tuple(sorted({*even, (count - 1) // 2}))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute Spearman's rank correlation. Equal values share the mean of their ranks.

    Args:
        first: N numbers.
        second: N numbers.

    Returns:
        The correlation, in [-1, 1]; nan if N is 0, if all values of `first` are equal, or if all values of
        `second` are equal.

    Raises:
        ShapeError: `first` and `second` differ in length.
    """
    if len(first) != len(second):
        raise ShapeError(f"both sequences must have the same length, got {len(first)} and {len(second)}")
    ranks = np.stack([mean_ranks(np.asarray(side, dtype=np.float64)) for side in (first, second)])
    if any(np.unique(side).size < 2 for side in ranks):
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, counted from 1 in ascending order. Equal values share the mean of their ranks.

    Args:
        values: (N,) numbers.

    Returns:
        (N,) float64.
    """
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(times)
    return (last - (times - 1) / 2)[place]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
