"""Read a table of any dialect: encoding, delimiter, quotes, with or without a header."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Literal

from clipes_core.errors import DatasetError

BYTE_ORDER_MARKS = {  # mark -> encoding; the marks of UTF-32 come first, because they begin like those of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
}
NUL_SHARE = 0.2  # a text in UTF-16 whose letters are mostly Latin has about one NUL byte in two
DELIMITERS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "pipes", " ": "blanks"}
SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # Excel's first line


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: number of its last line in the file, from 1.
        cells: texts without blanks around them.
    """

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of any dialect.

    Attributes:
        encoding: name of the encoding, for people.
        delimiter: what separates the cells.
        rows: the rows that are not empty, including a header.
        unclosed_quote: True if a quote is not closed, so that quotes were read as ordinary characters.
    """

    encoding: str
    delimiter: str
    rows: tuple[Row, ...]
    unclosed_quote: bool = False


def read_table(data: bytes, names_photo: Callable[[str], bool], delimiters: str) -> Table | None:
    """Read a table with the delimiter with which most rows have a cell that names a photo, besides other cells.

    Args:
        data: content of the file.
        names_photo: returns whether a cell names a photo.
        delimiters: the delimiters to try, in order of preference.

    Returns:
        The table; None if fewer than half of its rows name a photo with any of the delimiters.

    Raises:
        DatasetError: the file is binary, or no CSV.
    """
    text, encoding = decode(data)
    if stated := SEPARATOR_LINE.match(text):
        text, delimiters = text[stated.end() :], stated[1] if stated[1] in DELIMITERS else delimiters
    tables = [_parse(text, encoding, delimiter) for delimiter in delimiters]
    scores = {table: sum(_fits(row, names_photo) for row in table.rows) for table in tables}
    best = max(tables, key=lambda table: (scores[table], _regularity(table)))
    return best if best.rows and 2 * scores[best] >= len(best.rows) - 1 and scores[best] else None


def describe_dialect(table: Table) -> str:
    """Return the encoding and the delimiter of a table, for people."""
    return f"{table.encoding}, separated by {DELIMITERS[table.delimiter]}"


def decode(data: bytes) -> tuple[str, str]:
    """Return a text, and the name of its encoding for people.

    The encoding is that of the byte order mark, or UTF-16 if many bytes are NUL, or UTF-8 if the text is valid UTF-8,
    and otherwise Windows' encoding of Western Europe, which contains Latin-1.

    Raises:
        DatasetError: the file is binary.
    """
    for mark, codec in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return _checked(data, codec), f"{codec.removesuffix('-sig').upper()} with a byte order mark"
    if data.count(0) > NUL_SHARE * len(data):
        little = data[1::2].count(0) >= data[0::2].count(0)
        return _checked(data, "utf-16-le" if little else "utf-16-be"), "UTF-16"
    try:
        return _checked(data, "utf-8"), "UTF-8"
    except DatasetError:
        return _checked(data.translate(None, b"\x81\x8d\x8f\x90\x9d"), "cp1252"), "Windows-1252 (Latin-1)"


def _checked(data: bytes, codec: str) -> str:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as exc:
        raise DatasetError(f"the file is neither text nor {codec}") from exc
    if "\0" in text:
        raise DatasetError("the file is binary")
    return text


def _parse(text: str, encoding: str, delimiter: str) -> Table:
    if delimiter == " ":
        rows = [Row(number, tuple(line.split())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        return Table(encoding, delimiter, tuple(rows))
    rows = list(_rows(text, delimiter, csv.QUOTE_MINIMAL))
    swallowed = any("\n" in cell and delimiter in cell.partition("\n")[2] for row in rows for cell in row.cells)
    if swallowed:
        rows = [
            Row(row.line, tuple(cell.strip('"').strip() for cell in row.cells))
            for row in _rows(text, delimiter, csv.QUOTE_NONE)
        ]
    return Table(encoding, delimiter, tuple(rows), swallowed)


def _rows(text: str, delimiter: str, quoting: Literal[0, 3]) -> Iterator[Row]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Row(reader.line_num, tuple(cell.strip() for cell in cells))
    except csv.Error as exc:
        raise DatasetError(f"line {reader.line_num}: {exc}") from exc


def _fits(row: Row, names_photo: Callable[[str], bool]) -> bool:
    return len(row.cells) > 1 and any(map(names_photo, row.cells))


def _regularity(table: Table) -> float:
    """Return the share of rows that have the most frequent number of cells."""
    lengths = Counter(len(row.cells) for row in table.rows)
    return max(lengths.values(), default=0) / max(1, len(table.rows))


def pad(cells: Sequence[str], length: int) -> tuple[str, ...]:
    """Return cells of this length at least; missing cells are empty."""
    return (*cells, *[""] * (length - len(cells)))
