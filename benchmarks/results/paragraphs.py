"""Paragraphs of docs/results.md, whose lines have at most 120 characters."""

import textwrap

WIDTH = 120


def paragraph(*sentences: str) -> list[str]:
    """Return sentences as the lines of a paragraph."""
    return textwrap.wrap(" ".join(sentences), WIDTH, break_long_words=False, break_on_hyphens=False)


def items(*texts: str) -> list[str]:
    """Return texts as the lines of a list."""
    return [line for text in texts for line in _item(text)]


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
