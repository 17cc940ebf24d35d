"""Read the photo and the labels of each row of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.commands.init.labels import DIVIDER_NAMES, divide, find_divider
from clipes.tasks.commands.init.tables.columns import Columns
from clipes.tasks.commands.init.tables.dialect import Row, Table, pad


@dataclass(frozen=True)
class RowLabels:
    """The content of a row.

    Attributes:
        line: number of the line in the file, from 1.
        photo: the photo, as the table spells it.
        labels: labels, unique, in order of first appearance; None if they are unknown.
        truth: path of the true mask, as the table spells it; empty if there is none.
    """

    line: int
    photo: str
    labels: tuple[str, ...] | None
    truth: str = ""


def read_rows(table: Table, columns: Columns, source: str, doubts: Doubts) -> tuple[tuple[RowLabels, ...], str]:
    """Return the rows of a table that name a photo, and how their labels are written, for people.

    Args:
        table: the table.
        columns: what its columns mean.
        source: name of the table, for doubts.
        doubts: gets what is uncertain.
    """
    rows: list[Row] = []
    for row in table.rows[1:] if columns.names else table.rows:
        if pad(row.cells, columns.photo + 1)[columns.photo]:
            rows.append(row)
        else:
            doubts.add(f"{source} has lines without a photo, which are left out", f"line {row.line}")
    if columns.flags:
        labels, writing = (
            [_flagged(row, columns) for row in rows],
            f"a column of 0 and 1 for each of {len(columns.labels)} classes",
        )
    else:
        labels, writing = _divided([_label_cells(row, columns, source, doubts) for row in rows], source, doubts)
        writing = f"labels in {' and '.join(map(columns.title, columns.labels))}{writing}"
    unknown = [f"line {row.line}" for row, found in zip(rows, labels, strict=True) if found is None]
    if unknown:
        doubts.add(f"{source} has lines whose labels are unknown, whose photos are left out", *unknown)
    truths = [pad(row.cells, columns.truth + 1)[columns.truth] if columns.truth is not None else "" for row in rows]
    read = (
        RowLabels(row.line, row.cells[columns.photo], found, truth)
        for row, found, truth in zip(rows, labels, truths, strict=True)
    )
    return tuple(read), writing


def _flagged(row: Row, columns: Columns) -> tuple[str, ...] | None:
    cells = {index: pad(row.cells, index + 1)[index].casefold() for index in columns.labels}
    if not set(cells.values()) <= known_names("yes_cells") | known_names("no_cells"):
        return None
    return tuple(columns.names[index] for index, cell in cells.items() if cell in known_names("yes_cells"))


def _label_cells(row: Row, columns: Columns, source: str, doubts: Doubts) -> list[str]:
    """Return the cells with labels. If the labels stand last, and a row has more cells, these are labels, too."""
    last = max(columns.labels)
    more = row.cells[last + 1 :] if last + 1 >= len(columns.names) else ()
    if columns.names and any(more):
        doubts.add(
            f"{source} has lines with more cells than the header, which were taken as labels", f"line {row.line}"
        )
    return [cell for cell in (*(pad(row.cells, last + 1)[index] for index in columns.labels), *more) if cell]


def _divided(cells: Sequence[Sequence[str]], source: str, doubts: Doubts) -> tuple[list[tuple[str, ...] | None], str]:
    """Return the labels of each row, and how they are divided, for people."""
    divider = find_divider([cell for found in cells for cell in found])
    if divider == " ":
        doubts.add(f"{source}: labels in one cell were divided at blanks")
    labels = [tuple(dict.fromkeys(label for cell in found for label in divide(cell, divider))) for found in cells]
    if not divider and (joined := sorted({label for found in labels for label in found if " " in label})):
        doubts.add(f"{source}: labels with blanks were taken as one label each", *joined)
    background = [label for found in labels for label in found if label.casefold() in known_names("no_objects")]
    if background:
        doubts.add(f"{source}: labels that mean no object, so they are no classes", *background)
    return [_of_classes(found) for found in labels], f", divided by {DIVIDER_NAMES[divider]}" if divider else ""


def _of_classes(labels: Sequence[str]) -> tuple[str, ...] | None:
    if any(label.casefold() in known_names("unknown") for label in labels):
        return None
    return tuple(label for label in labels if label.casefold() not in known_names("no_objects"))
