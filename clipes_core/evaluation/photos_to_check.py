"""Find photos whose pseudo masks are probably wrong, without true masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from clipes_core.config.run import CheckConfig
from clipes_core.errors import ShapeError


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
        crf_changed: share of the pixels whose class the CRF changed, in [0, 1]; None if it is unknown, or if the mask
            was made without a CRF.
        agreement: result of `agreement` for the prediction of the segmenter; None if there is no prediction.
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
        weight: contribution of this reason to the severity of the photo, in [0, 2].
    """

    reason: Reason
    value: float
    text: str
    weight: float


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


def agreement(mask: np.ndarray, prediction: np.ndarray, class_ids: Sequence[int]) -> float:
    """Return the mIoU of a mask and a prediction over the background and the labels of a photo.

    Args:
        mask: (H, W) uint8 ids.
        prediction: (H, W) uint8 ids, which need not be labels of the photo.
        class_ids: class ids of the photo's labels.

    Returns:
        The mIoU, in [0, 1]. A class that neither the mask nor the prediction has is left out.

    Raises:
        ShapeError: the arrays differ in shape.
    """
    if mask.shape != prediction.shape:
        raise ShapeError(f"mask {mask.shape} and prediction {prediction.shape} must have the same size")
    ious = []
    for class_id in (0, *class_ids):
        one, other = mask == class_id, prediction == class_id
        union = int(np.count_nonzero(one | other))
        if union:
            ious.append(int(np.count_nonzero(one & other)) / union)
    return sum(ious) / len(ious) if ious else 0.0


def find_reasons(facts: MaskFacts, names: Sequence[str], limits: CheckConfig) -> tuple[Finding, ...]:
    """Return the reasons why a person should look at a photo; empty if there are none.

    Args:
        facts: facts about the photo's mask.
        names: name of each class of the vocabulary; the class with the id k is `names[k - 1]`.
        limits: limits of the measured values.
    """
    return tuple(_reasons(facts, names, limits))


def severity(findings: Sequence[Finding]) -> float:
    """Return a number by which photos are sorted: the sum of the weights of all findings.

    A foreground beyond its limit weighs most. On the demo's scenes, it is the reason with the lowest mIoU.
    """
    return sum(finding.weight for finding in findings)


def _reasons(facts: MaskFacts, names: Sequence[str], limits: CheckConfig) -> Iterator[Finding]:
    share, most, least = facts.foreground, limits.max_foreground, limits.min_foreground
    if share is not None and share > most:
        text = f"{share:.1%} of the pixels are foreground, more than {100 * most:g}%."
        yield Finding(Reason.LARGE_FOREGROUND, share, text, 1 + (share - most) / (1 - most))
    if share is not None and share < least:
        text = f"Only {share:.2%} of the pixels are foreground, less than {100 * least:g}%."
        yield Finding(Reason.SMALL_FOREGROUND, share, text, 2 - share / least)
    if facts.unseen:
        unseen = ", ".join(names[class_id - 1] for class_id in facts.unseen)
        text = f"No pixel of the mask has the label{'s' * (len(facts.unseen) > 1)} {unseen}."
        yield Finding(Reason.LABEL_WITHOUT_PIXELS, len(facts.unseen), text, 0.5)
    changed, most = facts.crf_changed, limits.max_crf_change
    if changed is not None and changed > most:
        text = f"The CRF changed the class of {changed:.1%} of the pixels, more than {100 * most:g}%."
        yield Finding(Reason.CRF_DISAGREES, changed, text, (changed - most) / (1 - most))
    agreed, least = facts.agreement, limits.min_agreement
    if agreed is not None and agreed < least:
        text = f"The mask and the segmenter's prediction have an mIoU of {agreed:.1%}, less than {100 * least:g}%."
        yield Finding(Reason.SEGMENTER_DISAGREES, agreed, text, 1 - agreed / least)
