"""What divides the labels in cells."""

import pytest

from clipes.tasks.commands.init.labels import divide, find_divider


@pytest.mark.parametrize(
    ("cells", "divider"),
    [
        (["dog", "cat;dog"], ";"),
        (["dog, puppy; cat"], ";"),
        (["dog,cat", "dog"], ","),
        (["dog|cat"], "|"),
        (["dog\ncat"], "\n"),
        (["dog cat", "dog", "cat"], " "),
        (["dog cat", "dog cow", "dog", "cat"], ""),
        (["hot dog", "dog"], ""),
        (["hot dog", "hot chocolate", "dog"], ""),
        (["traffic light", "bus"], ""),
        ([], ""),
    ],
)
def test_the_divider_is_the_one_that_the_cells_have(cells, divider):
    assert find_divider(cells) == divider


@pytest.mark.parametrize(
    ("cell", "divider", "labels"),
    [
        ("dog; cat ;dog;", ";", ("dog", "cat")),
        ("['dog', \"cat\"]", ",", ("dog", "cat")),
        ("hot dog", "", ("hot dog",)),
        ("", ";", ()),
        ("[]", ",", ()),
    ],
)
def test_labels_are_unique_and_have_no_blanks_and_quotes_around_them(cell, divider, labels):
    assert divide(cell, divider) == labels
