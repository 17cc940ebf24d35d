"""Files that name the classes of numbers."""

import pytest
from support.own_photos import write_photos

from clipes.tasks.commands.init.class_lists import find_class_list
from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.photo_folder import read_folder


def found_in(photos):
    """Return what names the classes, and the doubts."""
    doubts = Doubts()
    return find_class_list(read_folder(photos), doubts), [str(doubt) for doubt in doubts.found()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: [dog, cat]\n"),
        ("x/data.yml", "names: {0: dog, 1: cat}\n"),
        ("classes.txt", "dog\n cat \n\n"),
        ("obj.names", "dog\r\ncat\r\n"),
    ],
)
def test_names_are_read_from_yaml_and_text(photos, name, text):
    write_photos(photos, ["x/a.jpg"])
    (photos / name).write_bytes(text.encode())
    assert found_in(photos) == ((name, {0: "dog", 1: "cat"}), [])


def test_a_blank_line_counts_as_a_number_without_a_class(photos):
    (photos / "classes.txt").write_text("\ndog\n\ncat\n")
    found, doubts = found_in(photos)
    assert found == ("classes.txt", {1: "dog", 3: "cat"})
    assert doubts == ["classes.txt has blank lines between names, which were counted as numbers without a class"]


@pytest.mark.parametrize(("name", "data"), [("classes.txt", b"K\xe4fer\n"), ("data.yaml", b"names: [dog\n")])
def test_a_file_that_cannot_be_read_is_a_doubt_and_the_next_one_is_used(photos, name, data):
    (photos / name).write_bytes(data)
    (photos / "names.txt").write_text("dog\n")
    found, doubts = found_in(photos)
    assert found == ("names.txt", {0: "dog"})
    assert len(doubts) == 1
    assert doubts[0].startswith(f"files that may name the classes, but cannot be read, and are not used: 1 ({name} (")


def test_other_files_name_no_classes(photos):
    (photos / "notes.txt").write_text("dog\n")
    (photos / "settings.yaml").write_text("names: 3\n")
    assert found_in(photos) == (("", {}), [])
