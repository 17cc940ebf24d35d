"""Find photos whose pseudo masks are probably wrong, without true masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from clipes_core.config.run import CheckConfig


class Reason(StrEnum):
    """Reasons why a person should look at a photo."""

    LARGE_FOREGROUND = "large_foreground"
    SMALL_FOREGROUND = "small_foreground"
    LABEL_WITHOUT_PIXELS = "label_without_pixels"
    CRF_DISAGREES = "crf_disagrees"
    SEGMENTER_DISAGREES = "segmenter_disagrees"


@dataclass(frozen=True)
class MaskFacts:
    """What is known about a pseudo mask without its true mask.

    Attributes:
        foreground: share of the pixels that are not background, in [0, 1]; None if the photo has no labels.
        unseen: class ids of the labels that no pixel has.
        crf_changed: how much the CRF has changed the mask, in [0, 1]: see `changed_share`. None if it is unknown, or if
            the mask was made without a CRF.
        agreement: mIoU in [0, 1] between the mask and the prediction of the segmenter; None if there is no prediction.
    """

    foreground: float | None
    unseen: tuple[int, ...] = ()
    crf_changed: float | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class Finding:
    """One reason why a person should look at a photo.

    Attributes:
        reason: the reason.
        value: measured value. It is a number of labels for LABEL_WITHOUT_PIXELS, and otherwise a share in [0, 1].
        text: a sentence that states the reason and the value.
        excess: how far the value is beyond its limit, in [0, 1]; 1 is as far as possible.
    """

    reason: Reason
    value: float
    text: str
    excess: float


def facts_of_mask(class_ids: Sequence[int], class_pixels: Sequence[int], crf_changed: float | None) -> MaskFacts:
    """Return the facts about a mask.

    Args:
        class_ids: class ids of the photo's K labels.
        class_pixels: (1 + K,) number of pixels of the background, then of each label.
        crf_changed: see `MaskFacts`.
    """
    pixels = sum(class_pixels)
    return MaskFacts(
        foreground=1 - class_pixels[0] / pixels if class_ids and pixels else None,
        unseen=tuple(each for each, count in zip(class_ids, class_pixels[1:], strict=True) if not count),
        crf_changed=crf_changed,
    )


def changed_share(before: np.ndarray, after: np.ndarray) -> float:
    """Return by how much two masks differ, as a share of the foreground.

    Args:
        before: (H, W) int ids; 0 is background.
        after: (H, W) int ids.

    Returns:
        The number of pixels with different ids, divided by the number of pixels that are foreground in at least one of
        the masks. 0 if both masks are all background.
    """
    changed = int(np.count_nonzero(before != after))
    return changed / int(np.count_nonzero(before | after)) if changed else 0.0


def find_reasons(facts: MaskFacts, names: Sequence[str], limits: CheckConfig) -> tuple[Finding, ...]:
    """Return the reasons why a person should look at a photo; empty if there are none.

    Args:
        facts: facts about the photo's mask.
        names: name of each class of the vocabulary; the class with the id k is `names[k - 1]`.
        limits: limits of the measured values.
    """
    return tuple(_reasons(facts, names, limits))


def severity(findings: Sequence[Finding]) -> float:
    """Return a number by which photos are sorted: the number of reasons, plus the largest excess in [0, 1]."""
    return len(findings) + max((finding.excess for finding in findings), default=0.0)


def _reasons(facts: MaskFacts, names: Sequence[str], limits: CheckConfig) -> Iterator[Finding]:
    share, most, least = facts.foreground, limits.max_foreground, limits.min_foreground
    if share is not None and share > most:
        text = f"{share:.1%} of the pixels are foreground, more than {most:.0%}."
        yield Finding(Reason.LARGE_FOREGROUND, share, text, (share - most) / (1 - most))
    if share is not None and share < least:
        text = f"Only {share:.2%} of the pixels are foreground, less than {100 * least:g}%."
        yield Finding(Reason.SMALL_FOREGROUND, share, text, 1 - share / least)
    if facts.unseen:
        unseen = ", ".join(names[class_id - 1] for class_id in facts.unseen)
        text = f"No pixel of the mask has the label{'s' * (len(facts.unseen) > 1)} {unseen}."
        yield Finding(Reason.LABEL_WITHOUT_PIXELS, len(facts.unseen), text, 1.0)
    changed, most = facts.crf_changed, limits.max_crf_change
    if changed is not None and changed > most:
        text = f"The CRF changed the class of {changed:.0%} of the foreground, more than {most:.0%}."
        yield Finding(Reason.CRF_DISAGREES, changed, text, (changed - most) / (1 - most))
    agreement, least = facts.agreement, limits.min_agreement
    if agreement is not None and agreement < least:
        text = f"The segmenter's mask and the pseudo mask agree with an mIoU of {agreement:.0%}, less than {least:.0%}."
        yield Finding(Reason.SEGMENTER_DISAGREES, agreement, text, 1 - agreement / least)
