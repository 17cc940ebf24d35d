"""Divide cells of labels into labels."""

import re
from collections import Counter
from collections.abc import Sequence

DIVIDERS = ("\n", ";", ",", "|")
DIVIDER_NAMES = {"\n": "line breaks", ";": "';'", ",": "','", "|": "'|'", " ": "blanks", "": "nothing"}
BRACKETS = re.compile(r"\[(.*)\]|\((.*)\)|\{(.*)\}", re.DOTALL)  # a list of labels, as Python and JSON write it


def find_divider(cells: Sequence[str]) -> str:
    """Return what divides the labels in cells; empty if each cell has at most one label.

    This is the first of line break, `;`, `,` and `|` that occurs in a cell. Without any of them, it is a blank, but
    only if the words around blanks are labels by themselves: each of them must stand in cells with different other
    words or alone, and most of them alone.
    """
    for divider in DIVIDERS:
        if any(divider in _without_brackets(cell) for cell in cells):
            return divider
    joined = [cell.split() for cell in set(cells) if len(cell.split()) > 1]
    alone = {cell.strip() for cell in cells if len(cell.split()) == 1}
    uses = Counter(word for words in joined for word in set(words))
    if not joined or not all(word in alone or times > 1 for word, times in uses.items()):
        return ""
    return " " if 2 * sum(word in alone for word in uses) > len(uses) else ""


def divide(cell: str, divider: str) -> tuple[str, ...]:
    """Return the labels in a cell, unique and without blanks and quotes around them."""
    inner = _without_brackets(cell)
    parts = inner.split(divider) if divider else [inner]
    return tuple(dict.fromkeys(label for part in parts if (label := part.strip().strip("'\"").strip())))


def _without_brackets(cell: str) -> str:
    found = BRACKETS.fullmatch(cell.strip())
    return next((group for group in found.groups() if group is not None), "") if found else cell
