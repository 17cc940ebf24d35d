"""Find the classes of labels, also if a label is spelled in another way but can only mean one class."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clipes.tasks.inputs.datasets.entries import find_class_ids
from clipes_core.errors import PhotoError

OTHER_SEPARATORS = re.compile(r"[,|]")
JOINED = "the labels are joined by a comma or a pipe, and clipes separated them"
BLANKS = "a label has an underscore in place of a blank, or a blank in place of an underscore"


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a photo.

    Attributes:
        class_ids: data set ids 1..K, unique, in order of first appearance.
        notes: remarks for the user about labels that clipes corrected.
    """

    class_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()


class LabelReader:
    """Finds the classes of labels.

    Args:
        known: valid label -> its data set id 1..K.
        lists: True if the labels come from a list file, in which a wrong separator may join several labels.
    """

    def __init__(self, known: Mapping[str, int], lists: bool = False) -> None:
        self._known, self._lists = known, lists
        self._by_spelling: dict[str, set[str]] = defaultdict(set)
        for name in known:
            self._by_spelling[_with_blanks(name)].add(name)

    def read(self, labels: Sequence[str]) -> Labels:
        """Return the classes of a photo's labels.

        An unknown label is corrected if only one correction is possible.

        Args:
            labels: labels of the photo, as the data set spells them. They are case-sensitive.

        Raises:
            PhotoError: UNKNOWN_CLASS; the reason names the first unknown label.
        """
        corrected: list[str] = []
        notes: dict[str, None] = {}
        for label in labels:
            parts = self._separated(label)
            corrected += [self._corrected(part) or part for part in parts]
            notes |= dict.fromkeys(self._notes(label, parts))
        try:
            return Labels(find_class_ids(corrected, self._known), tuple(notes))
        except PhotoError as error:
            raise PhotoError(error.kind, f"{error.reason}{self._hint(labels)}") from error

    def _separated(self, label: str) -> list[str]:
        """Return the labels that a comma or a pipe joins, if all of them are known; otherwise return the label."""
        parts = [part.strip() for part in OTHER_SEPARATORS.split(label) if part.strip()]
        separate = self._lists and label not in self._known and parts and all(map(self._corrected, parts))
        return parts if separate else [label]

    def _corrected(self, label: str) -> str | None:
        """Return the only known label that has the same spelling apart from underscores and blanks."""
        if label in self._known:
            return label
        names = self._by_spelling.get(_with_blanks(label), set())
        return min(names) if len({self._known[name] for name in names}) == 1 else None

    def _notes(self, label: str, parts: list[str]) -> Iterator[str]:
        if parts != [label]:
            yield JOINED
        if any(part not in self._known and self._corrected(part) for part in parts):
            yield BLANKS

    def _hint(self, labels: Sequence[str]) -> str:
        joined = self._lists and any(OTHER_SEPARATORS.search(label) for label in labels if label not in self._known)
        return "; separate labels by ;" if joined else ""


def _with_blanks(label: str) -> str:
    return " ".join(label.replace("_", " ").split())
