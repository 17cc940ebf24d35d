"""What the columns of a table mean."""

import pytest

from clipes.tasks.commands.init.tables.columns import find_columns
from clipes.tasks.commands.init.tables.dialect import Row, Table


def columns_of(*lines):
    """Return the columns of a table whose cells are separated by commas."""
    rows = tuple(Row(number, tuple(line.split(","))) for number, line in enumerate(lines, 1))
    return find_columns(Table("UTF-8", ",", rows), lambda cell: cell.endswith(".jpg"))


@pytest.mark.parametrize(
    ("lines", "photo", "labels"),
    [
        (("file,tags", "a.jpg,dog"), 0, (1,)),
        (("Tag_1,Image Path,Tag_2", "dog,a.jpg,cat"), 1, (0, 2)),
        (("a.jpg,dog,3", "b.jpg,cat,4"), 0, (1,)),
        (("a.jpg,1", "b.jpg,0"), 0, (1,)),
        (("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,500,375,dog,1,2,3,4"), 0, (3,)),
        (("picture,date,kind,remark", "a.jpg,1.2.24,dog,one", "b.jpg,2.2.24,dog,two"), 0, (2,)),
        (("image,label", "a.jpg,0", "b.jpg,1"), 0, (1,)),
    ],
)
def test_columns_of_labels_are_found_by_name_or_content(lines, photo, labels):
    columns = columns_of(*lines)
    assert (columns.photo, columns.labels, columns.flags) == (photo, labels, False)


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (("image,dog,cat", "a.jpg,1,0"), (1, 2)),
        (("image,width,dog,cat", "a.jpg,500,TRUE,FALSE"), (2, 3)),
        (("image,dog,class", "a.jpg,1,0"), (1, 2)),
        (("image,x,dog", "a.jpg,1,1"), (2,)),
    ],
)
def test_columns_of_0_and_1_stand_for_classes(lines, labels):
    columns = columns_of(*lines)
    assert (columns.labels, columns.flags) == (labels, True)


@pytest.mark.parametrize(
    ("lines", "labels", "unused"),
    [
        (("image,dog", "a.jpg,1,0"), (1,), ("column 3",)),
        (("image,,dog", "a.jpg,1,0"), (2,), ("column 2",)),
        (("image,labels,note", "a.jpg,dog,x,y"), (1,), ("note", "column 4")),
        (("image,labels", "a.jpg,dog,cat"), (1,), ()),  # the cells after the last column of labels are labels
    ],
)
def test_columns_without_a_name_are_stated_or_are_further_labels(lines, labels, unused):
    columns = columns_of(*lines)
    assert (columns.labels, columns.unused) == (labels, unused)


def test_a_table_without_labels_has_no_columns():
    assert columns_of("image,width", "a.jpg,500") is None


def test_columns_without_a_meaning_and_a_guess_are_stated():
    columns = columns_of("photo,taken by,kind", "a.jpg,me,dog", "b.jpg,you,dog")
    assert columns.guessed
    assert columns.unused == ("taken by",)
    assert columns.title(2) == "'kind'"
    assert columns_of("a.jpg,dog").title(1) == "number 2"
