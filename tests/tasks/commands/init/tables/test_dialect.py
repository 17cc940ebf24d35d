"""Tables in many dialects."""

import csv
import io
import itertools

import pytest

from clipes.tasks.commands.init.tables.dialect import decode, describe_dialect, read_table
from clipes_core.errors import DatasetError

CELLS = (("image", "labels", "note"), ("a, b.jpg", "Kühe; dog", 'a "good" one'), ("c.jpg", "dog", ""))


def names_photo(cell):
    return cell.endswith(".jpg")


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end", "quoting"),
    list(
        itertools.product(
            ",;\t|",
            ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"),
            ("\n", "\r\n", "\r"),
            (csv.QUOTE_MINIMAL, csv.QUOTE_ALL),
        )
    ),
)
def test_the_cells_are_read_whatever_the_dialect(delimiter, encoding, end, quoting):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(CELLS)
    data = text.getvalue().encode(encoding)
    table = read_table(data, names_photo, ";\t,|")
    assert tuple(row.cells for row in table.rows) == CELLS
    assert [row.line for row in table.rows] == [1, 2, 3]
    assert table.delimiter == delimiter
    assert not table.unclosed_quote


def test_the_dialect_is_described():
    data = "image;labels\na.jpg;dog\n".encode("utf-8-sig")
    assert (
        describe_dialect(read_table(data, names_photo, ";,")) == "UTF-8 with a byte order mark, separated by semicolons"
    )


def test_empty_lines_and_blanks_around_cells_are_no_content():
    table = read_table(b"image , labels\n\n a.jpg , dog \n,\n", names_photo, ",")
    assert [(row.line, row.cells) for row in table.rows] == [(1, ("image", "labels")), (3, ("a.jpg", "dog"))]


@pytest.mark.parametrize("text", ["", "\n\n", "a.jpg\nb.jpg\n", "day,degrees\n1,20\n2,21\n3,22\n"])
def test_a_text_without_photos_and_other_cells_is_no_table(text):
    assert read_table(text.encode(), names_photo, ";\t,|") is None


@pytest.mark.parametrize("data", [bytes(range(256)), b"PK\3\4\0x", b"\xff\xfe\0", b"\xef\xbb\xbf\xff"])
def test_binary_files_are_refused(data):
    with pytest.raises(DatasetError, match="the file is"):
        decode(data)


def test_a_cell_that_is_too_long_is_an_error_with_its_line():
    data = b"image,labels\na.jpg,dog\nb.jpg," + b"x" * 200_000
    with pytest.raises(DatasetError, match=r"line 3: field larger than field limit"):
        read_table(data, names_photo, ",")
