import pytest

from clipes.tasks.inputs.datasets.entries import Entry
from clipes.tasks.inputs.datasets.guards import read_row, reading_list
from clipes_core.errors import DatasetError, ErrorKind, PhotoError, TransientError


class UnexpectedError(Exception):
    """An error that no reader expects."""


def failing(error):
    def read():
        raise error

    return read


def test_a_row_without_an_error_is_returned():
    entry = Entry("a", ("/a.jpg",), ())
    assert read_row(lambda: entry, "line 1", "/list.csv") is entry


def test_any_error_rejects_only_its_row():
    row = read_row(failing(UnexpectedError("two\nlines")), "line 7", "/list.csv")
    assert (row.image_id, row.uri, row.kind) == ("line 7", "/list.csv", ErrorKind.UNREADABLE_LABELS)
    assert row.reason == "line 7 of /list.csv cannot be read (UnexpectedError: two lines); correct it"


def test_the_error_of_a_photo_keeps_its_reason():
    row = read_row(failing(PhotoError(ErrorKind.MISSING, "no file")), "line 7", "/list.csv")
    assert (row.kind, row.reason) == (ErrorKind.MISSING, "no file")


@pytest.mark.parametrize("error", [TransientError("the store hung up"), DatasetError("no permission")])
def test_an_error_that_concerns_more_than_a_row_is_raised(error):
    with pytest.raises(type(error)) as raised:
        read_row(failing(error), "line 7", "/list.csv")
    assert raised.value is error


def test_any_error_in_a_list_names_the_list():
    with (
        pytest.raises(
            DatasetError, match=r"^/list.csv: cannot be read \(UnexpectedError: why\); save it again$"
        ) as error,
        reading_list("/list.csv", "save it again"),
    ):
        raise UnexpectedError("why")
    assert isinstance(error.value.__cause__, UnexpectedError)


@pytest.mark.parametrize("error", [TransientError("the store hung up"), FileNotFoundError("/list.csv")])
def test_errors_of_the_store_are_not_translated_twice(error):
    with pytest.raises(type(error)) as raised, reading_list("/list.csv", "save it again"):
        raise error
    assert raised.value is error
