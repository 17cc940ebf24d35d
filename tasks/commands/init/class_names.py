"""The classes of a data set: merge their spellings, doubt names that differ little, and propose their words."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts.layout import LabelledPhoto
from clipes.tasks.commands.init.word_proposals import WordProposals
from clipes_core.errors import DatasetError
from clipes_core.vocabulary import MAX_CLASSES

LONG_NAME = 6  # of two names with at least this many letters, one wrong letter is more likely than two classes
RARE = 5  # a name that is this many times rarer than a similar one may be a typing mistake
MEANINGLESS = re.compile(r"[\W\d_]*|(?:class|label|category|cat|object|obj|id|type)?[\W_]*\d+|n\d{8}", re.IGNORECASE)
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class FoundClass:
    """A class of a data set.

    Attributes:
        name: its name, as most labels spell it.
        photos: number of photos with this label.
        aliases: other spellings.
        words: text for CLIP, if the name is not its best text; otherwise None.
        synonyms: texts for CLIP, one by one; empty if there is no proposal.
    """

    name: str
    photos: int
    aliases: tuple[str, ...] = ()
    words: str | None = None
    synonyms: tuple[str, ...] = ()


def find_classes(
    photos: Iterable[LabelledPhoto], declared: Sequence[str], proposals: WordProposals, doubts: Doubts
) -> tuple[FoundClass, ...]:
    """Return the classes of a data set, in the declared order, or else sorted by name.

    Names that differ only in letter case, blanks, underscores and hyphens are one class, because CLIP reads the same
    words for them.

    Args:
        photos: the labelled photos.
        declared: names of all classes in the order of their ids; empty if there is no order.
        proposals: proposals of synonyms.
        doubts: gets what is uncertain about the names.

    Raises:
        DatasetError: there are too many classes.
    """
    counts = Counter(label for photo in photos for label in photo.labels)
    labels = [*declared, *sorted((label for label in counts if label not in declared), key=str.casefold)]
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(spaced(label), []).append(label)
    classes = tuple(_merged(key, group, counts, proposals) for key, group in groups.items())
    if len(classes) > MAX_CLASSES:
        raise DatasetError(f"found {len(classes)} classes, but the 8-bit ids of masks allow at most {MAX_CLASSES}")
    _doubt(classes, doubts)
    return classes


def spaced(name: str) -> str:
    """Return a name in lower case, with a blank in place of underscores, hyphens and other blanks."""
    return " ".join(re.split(r"[\s_-]+", name)).strip().casefold() or name


def _merged(key: str, spellings: Sequence[str], counts: Mapping[str, int], proposals: WordProposals) -> FoundClass:
    name = max(spellings, key=lambda label: counts.get(label, 0))
    synonyms = proposals.synonyms.get(key, ())
    words = ",".join(synonyms) if synonyms else spaced(CAMEL.sub(" ", name))
    aliases = tuple(label for label in spellings if label != name)
    photos = sum(counts.get(label, 0) for label in spellings)
    return FoundClass(name, photos, aliases, words if words != name else None, tuple(synonyms))


def _doubt(classes: Sequence[FoundClass], doubts: Doubts) -> None:
    for each in classes:
        if each.aliases:
            doubts.add("spellings that were taken as one class", f"{each.name} = {' = '.join(each.aliases)}")
    for one, other in combinations(classes, 2):
        if _is_near_miss(one, other):
            names = f"{one.name} ({one.photos} photos) and {other.name} ({other.photos} photos)"
            doubts.add("classes whose names differ little (to merge them, make one an alias of the other)", names)
    if unused := [each.name for each in classes if not each.photos]:
        doubts.add("classes that no photo has", *unused)
    if meaningless := [each.name for each in classes if MEANINGLESS.fullmatch(each.name)]:
        doubts.add("names that say nothing to CLIP (write `words` into the vocabulary)", *meaningless)
    if foreign := [each.name for each in classes if not each.name.isascii()]:
        doubts.add("names that may not be English, which CLIP reads best (write `words`)", *foreign)


def _is_near_miss(one: FoundClass, other: FoundClass) -> bool:
    left, right = spaced(one.name), spaced(other.name)
    if _singular(left) == _singular(right):
        return True
    least, most = sorted((one.photos, other.photos))
    is_rare = len(left) >= LONG_NAME - 2 and RARE * least <= most
    return (min(len(left), len(right)) >= LONG_NAME or is_rare) and _differ_by_one(left, right)


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return re.sub(r"(?<=s|x|z)es$|(?<=ch|sh)es$|(?<!s)s$", "", name) if len(name) > 3 else name


def _differ_by_one(one: str, other: str) -> bool:
    """Return whether one letter is missing, wrong or swapped with its neighbour."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    left, right = one[start:], other[start:]
    swapped = left[1:2] + left[:1] + left[2:]
    return right in (left[1:], swapped) or left == right[1:] or left[1:] == right[1:]
