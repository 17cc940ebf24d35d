"""Read the rows of a list in CSV or plain text."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO

from clipes.tasks.storage.user_files import read_lines, read_text
from clipes_core.config.uri import without_secrets
from clipes_core.errors import DatasetError, ErrorKind, PhotoError

COLUMNS = "a list file needs the columns image and labels, and may have the column truth"

OTHER_SEPARATORS = re.compile(r"[;\t|]")  # of columns, in files that are called CSV


@dataclass(frozen=True, slots=True)
class ListRow:
    """One row of a list file, with the paths and labels as the file spells them."""

    image: str
    labels: tuple[str, ...]
    truth: str = ""


def csv_rows(list_uri: str) -> Iterator[tuple[str, Callable[[], ListRow]]]:
    """Yield the location of each row, and a function that reads the row.

    Raises:
        FileNotFoundError: `list_uri` does not exist.
        DatasetError: the file is not readable CSV, or lacks a column.
    """
    reader = csv.reader(StringIO(read_text(list_uri), newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        check_columns(list_uri, header)
        for cells in reader:
            if cells:
                yield f"line {reader.line_num}", partial(_csv_row, header, cells, reader.line_num)
    except csv.Error as exc:
        raise DatasetError(f"{list_uri}: line {reader.line_num}: {exc}; save the file as plain CSV") from exc


def _csv_row(header: Sequence[str], cells: Sequence[str], line: int) -> ListRow:
    if len(cells) != len(header):
        reason = f"line {line} has {len(cells)} cells, but the header has {len(header)}: separate labels by ;"
        raise PhotoError(ErrorKind.UNREADABLE_LABELS, reason)
    row = dict(zip(header, cells, strict=True))
    return ListRow(row["image"].strip(), split_labels(row["labels"]), row.get("truth", "").strip())


def text_rows(list_uri: str) -> Iterator[tuple[str, Callable[[], ListRow]]]:
    """Yield the location of each line, and a function that reads the line.

    Raises:
        FileNotFoundError: `list_uri` does not exist.
        DatasetError: the file is not UTF-8 text.
    """
    for number, line in read_lines(list_uri):
        yield f"line {number}", partial(_text_row, line)


def _text_row(line: str) -> ListRow:
    path, tab, labels = line.partition("\t")
    if tab:
        return ListRow(path.strip(), split_labels(labels))
    path, *names = line.split()
    return ListRow(path, tuple(names))


def check_columns(list_uri: str, header: Sequence[str]) -> None:
    """Check that a list file has each of the columns that it needs once.

    Raises:
        DatasetError: a column is missing or occurs twice.
    """
    missing = [column for column in ("image", "labels") if column not in header]
    if missing:
        found = without_secrets(", ".join(header)) or "none"
        advice = "; separate them by commas" if len(header) == 1 and OTHER_SEPARATORS.search(header[0]) else ""
        raise DatasetError(
            f"{list_uri}: no column {' and no column '.join(missing)}; found: {found}; {COLUMNS}{advice}"
        )
    repeated = [column for column in ("image", "labels", "truth") if header.count(column) > 1]
    if repeated:
        raise DatasetError(
            f"{list_uri}: more than one column {' and more than one column '.join(repeated)}; keep only one of them"
        )


def split_labels(cell: str) -> tuple[str, ...]:
    """Return the labels in a cell, which are separated by `;`."""
    return stripped(cell.split(";"))


def stripped(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels without the blanks around them; empty labels are left out."""
    return tuple(label.strip() for label in labels if label.strip())
