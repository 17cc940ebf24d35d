"""Doubts: what clipes is not sure about in a folder of photos, with the number of cases and the first of them."""

from collections import defaultdict
from dataclasses import dataclass

SHOWN = 3  # examples of a doubt


@dataclass(frozen=True)
class Doubt:
    """Something about a data set that the user must look at.

    Attributes:
        text: what clipes doubts, and what it did or what to do, in the plural.
        count: number of cases; 0 if the doubt concerns the data set as a whole.
        examples: the first cases, at most `SHOWN`.
    """

    text: str
    count: int = 0
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.count:
            return self.text
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.text}: {self.count} ({', '.join(self.examples)}{more})"


class Doubts:
    """Collects doubts. Cases with the same text are counted together."""

    def __init__(self) -> None:
        self._cases: dict[str, list[str]] = defaultdict(list)

    def add(self, text: str, *cases: str) -> None:
        """Add the cases of a doubt; without cases, the doubt concerns the data set as a whole."""
        self._cases[text] += cases

    def found(self) -> tuple[Doubt, ...]:
        """Return the doubts, in the order in which they were first added."""
        return tuple(Doubt(text, len(cases), tuple(cases[:SHOWN])) for text, cases in self._cases.items())
