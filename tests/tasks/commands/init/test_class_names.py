"""The classes of a data set, and doubts about their names."""

import pytest

from clipes.tasks.commands.init.class_names import find_classes
from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts.layout import LabelledPhoto
from clipes.tasks.commands.init.word_proposals import read_proposals
from clipes_core.errors import DatasetError

NEAR = "classes whose names differ little"


def classes_of(labels, declared=()):
    """Return the classes of photos with these labels, and the doubts."""
    doubts = Doubts()
    photos = [LabelledPhoto(f"{number}.jpg", (label,)) for number, label in enumerate(labels)]
    return find_classes(photos, declared, read_proposals(), doubts), [str(doubt) for doubt in doubts.found()]


def test_spellings_of_a_name_are_one_class_with_the_most_frequent_name():
    found, doubts = classes_of(
        ["Dog", "dog", "dog", "traffic light", "traffic_light", "Traffic-Light", "traffic_light"]
    )
    assert [(each.name, each.aliases, each.photos) for each in found] == [
        ("dog", ("Dog",), 3),
        ("traffic_light", ("traffic light", "Traffic-Light"), 4),
    ]
    assert doubts == [
        "spellings that were taken as one class: 2 (dog = Dog, traffic_light = traffic light = Traffic-Light)"
    ]


def test_clip_reads_names_of_programs_as_words():
    found, _ = classes_of(["traffic_light", "PottedPlant", "person", "cow"])
    words = {each.name: (each.words, each.synonyms) for each in found}
    assert words == {
        "traffic_light": ("traffic light", ()),
        "PottedPlant": ("potted plant", ()),
        "person": ("person with clothes,people,human", ("person with clothes", "people", "human")),
        "cow": (None, ()),
    }


@pytest.mark.parametrize(
    "names",
    [("sofa", "sofas"), ("bus", "buses"), ("pony", "ponies"), ("tractor", "tracter"), ("bicycle", "bicylce")],
)
def test_names_that_differ_little_are_doubts(names):
    found, doubts = classes_of(names)
    assert len(found) == 2
    assert any(each.startswith(NEAR) for each in doubts)


def test_a_rare_name_like_a_frequent_one_is_a_doubt():
    assert any(each.startswith(NEAR) for each in classes_of(["boat"] * 5 + ["baot"])[1])


@pytest.mark.parametrize("names", [("boat", "goat"), ("cat", "car"), ("dog", "dolphin"), ("glass", "gas")])
def test_names_of_different_things_are_no_doubts(names):
    assert classes_of(names)[1] == []


def test_names_that_say_nothing_and_classes_without_photos_are_doubts():
    _, doubts = classes_of(["n02084071", "class_3", "7", "Kühe"], ["dog"])
    assert doubts == [
        "classes that no photo has: 1 (dog)",
        "names that say nothing to CLIP (write `words` into the vocabulary): 3 (7, class_3, n02084071)",
        "names that may not be English, which CLIP reads best (write `words`): 1 (Kühe)",
    ]


def test_more_classes_than_ids_are_an_error():
    with pytest.raises(DatasetError, match="found 255 classes, but the 8-bit ids of masks allow at most 254"):
        classes_of([f"thing {chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(255)])
