"""The section of the report that lists photos to check."""

from collections import Counter
from dataclasses import dataclass

from clipes.tasks.report.facts import RunFacts
from clipes.tasks.runs.photos_to_check import PhotoToCheck
from clipes_core.evaluation.photos_to_check import Reason

LISTED = 50
TITLES = {
    Reason.LARGE_FOREGROUND: "much foreground",
    Reason.SMALL_FOREGROUND: "hardly any foreground",
    Reason.LABEL_WITHOUT_PIXELS: "a label without a pixel",
    Reason.CRF_DISAGREES: "CAM and CRF disagree",
    Reason.SEGMENTER_DISAGREES: "mask and segmenter disagree",
}


@dataclass(frozen=True)
class ToCheckSection:
    """The content of the section.

    Attributes:
        photos: number of photos to check.
        masks: number of masks.
        groups: short title of each reason that occurs -> number of photos that have this reason.
        listed: the first `LISTED` photos to check, the most suspicious first.
    """

    photos: int
    masks: int
    groups: dict[str, int]
    listed: tuple[PhotoToCheck, ...]


def to_check_section(facts: RunFacts) -> ToCheckSection | None:
    """Return the content of the section; None if there are no masks."""
    if not facts.masks:
        return None
    counts = Counter(found.reason for photo in facts.to_check.values() for found in photo.reasons)
    groups = {TITLES[reason]: counts[reason] for reason in Reason if counts[reason]}
    return ToCheckSection(len(facts.to_check), facts.masks, groups, tuple(facts.to_check.values())[:LISTED])
