"""Find out which column of a table names the photos, which columns have labels, and how."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.commands.init.tables.dialect import Row, Table, pad


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean.

    Attributes:
        photo: index of the column that names the photos.
        labels: indices of the columns with labels.
        flags: True if each label column stands for a class, and its cells say whether the photo shows it.
        truth: index of the column of true masks; None if there is none.
        names: names of the columns; empty if the table has no header. A column without a name has an empty name. If
            the labels stand last, further cells of a row have no name, and are labels, too.
        guessed: True if no name of a column says which one has the labels.
    """

    photo: int
    labels: tuple[int, ...]
    flags: bool
    truth: int | None
    names: tuple[str, ...]
    guessed: bool

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of the columns that are not used."""
        used = {self.photo, self.truth, *self.labels}
        return tuple(name or f"column {index + 1}" for index, name in enumerate(self.names) if index not in used)

    def title(self, index: int) -> str:
        """Return the name of a column in quotes, or its number."""
        name = self.names[index] if index < len(self.names) else ""
        return repr(name) if name else f"number {index + 1}"


def find_columns(table: Table, names_photo: Callable[[str], bool]) -> Columns | None:
    """Find out what the columns of a table mean; return None if it has no labels."""
    width = max(len(row.cells) for row in table.rows)
    photo = max(range(width), key=lambda index: sum(names_photo(cell) for cell in _column(table.rows, index)))
    header = _header(table.rows, photo, names_photo)
    body = table.rows[1:] if header else table.rows
    named = _named_labels(header)
    truth = next(
        (index for index, name in enumerate(header) if _plain(name) in known_names("truth_columns") and index != photo),
        None,
    )
    others = [index for index in range(width) if index not in (photo, truth)]
    flags = [index for index in others if header and _has_flags(_column(body, index))]
    labels = [index for index in named if index in others]
    if flags and (not labels or (set(labels) <= set(flags) and len(flags) > 1)):
        names = pad(header, width)
        classes = [
            index for index in flags if names[index] and _plain(names[index]) not in known_names("other_columns")
        ]
        return Columns(photo, tuple(classes), True, truth, names, False) if classes else None
    guessed = [] if labels else _guess_labels(body, others, header)
    found = tuple(labels or guessed)
    if not found:
        return None
    names = pad(header, width) if header and max(found) + 1 < len(header) else header
    return Columns(photo, found, False, truth, names, bool(guessed and header))


def _column(rows: Sequence[Row], index: int) -> list[str]:
    return [row.cells[index] if index < len(row.cells) else "" for row in rows]


def _header(rows: Sequence[Row], photo: int, names_photo: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the first row if it is a header; an empty tuple if it is not."""
    first = rows[0].cells
    title = first[photo] if photo < len(first) else ""
    known = known_names("photo_columns") | known_names("label_columns")
    if any(map(names_photo, first)) or re.search(r"\.\w{3,4}$", title):
        return ()
    if any(_plain(cell) in known for cell in first) or all(map(names_photo, _column(rows[1:], photo))):
        return first
    return ()


def _plain(name: str) -> str:
    """Return the name of a column in lower case, with letters and digits only."""
    return re.sub(r"[\W_]", "", name).casefold()


def _named_labels(header: Sequence[str]) -> list[int]:
    """Return the indices of the columns whose names say that they have labels, such as `labels` or `tag_2`."""
    return [
        index for index, name in enumerate(header) if _plain(name).rstrip("0123456789") in known_names("label_columns")
    ]


def _has_flags(cells: Sequence[str]) -> bool:
    values = {cell.casefold() for cell in cells}
    return values <= known_names("yes_cells") | known_names("no_cells") and values != {""}


def _guess_labels(rows: Sequence[Row], others: Sequence[int], header: Sequence[str]) -> list[int]:
    """Return the columns that probably have labels: those with texts that repeat; without texts, those with ids."""
    columns = {
        index: [cell for cell in _column(rows, index) if cell]
        for index in others
        if index >= len(header) or _plain(header[index]) not in known_names("other_columns")
    }
    texts = [index for index, cells in columns.items() if cells and not all(map(_is_number, cells))]
    ids = [index for index, cells in columns.items() if cells and all(cell.isdecimal() for cell in cells)]
    if not header or len(texts) < 2:
        return texts or ids[:1]
    return [min(texts, key=lambda index: len(set(columns[index])) / len(columns[index]))]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
