"""Tables in Markdown, and how their cells show numbers that are missing or have a sign."""

from collections.abc import Iterable, Sequence

MISSING = "–"
MINUS = "−"


def signed(difference: float, digits: int) -> str:
    """Format a difference with its sign, unless all digits are zero."""
    shown = f"{difference:+.{digits}f}"
    return shown.lstrip("+-") if float(shown) == 0 else shown.replace("-", MINUS)


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int]) -> list[str]:
    """Return the lines of a table.

    Args:
        columns: headings.
        rows: cells of each row, as many as there are headings.
        right: places of the columns that are aligned to the right.
    """
    aligned = set(right)
    rules = ["---:" if place in aligned else "---" for place in range(len(columns))]
    return [_line(columns), f"|{'|'.join(rules)}|", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
