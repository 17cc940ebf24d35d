import pytest
from pydantic import ValidationError

from clipes_core.vocabulary import ClassEntry, Vocabulary


def vocabulary(*entries: ClassEntry) -> Vocabulary:
    return Vocabulary(classes=entries)


def test_class_ids_start_at_one_in_the_order_of_the_classes():
    assert vocabulary(ClassEntry(name="dog"), ClassEntry(name="cat")).ids == {"dog": 1, "cat": 2}


def test_known_names_include_aliases_but_ids_do_not():
    classes = vocabulary(ClassEntry(name="dog"), ClassEntry(name="sofa", aliases=("couch", "settee")))

    assert classes.known_names == {"dog": 1, "sofa": 2, "couch": 2, "settee": 2}
    assert classes.ids == {"dog": 1, "sofa": 2}


def test_words_default_to_the_name_and_synonyms_to_the_words():
    plain = ClassEntry(name="dog")
    joined = ClassEntry(name="tie", words="necktie")
    apart = ClassEntry(name="bird", words="bird avian", synonyms=("bird", "avian"))

    assert (plain.sentence_words, plain.separate_words) == ("dog", ("dog",))
    assert (joined.sentence_words, joined.separate_words) == ("necktie", ("necktie",))
    assert (apart.sentence_words, apart.separate_words) == ("bird avian", ("bird", "avian"))


def test_palette_defaults_to_the_voc_colour_map():
    palette = vocabulary(ClassEntry(name="dog"), ClassEntry(name="cat", colour=(1, 2, 3))).palette

    assert len(palette) == 256
    assert palette[:4] == ((0, 0, 0), (128, 0, 0), (1, 2, 3), (128, 128, 0))
    # 15 = 0b001111 sets two bits of red and one each of green and blue; 255 is the cream of borders
    assert palette[15] == (192, 128, 128)
    assert palette[255] == (224, 224, 192)


@pytest.mark.parametrize(
    "entries",
    [
        (ClassEntry(name="dog"), ClassEntry(name="dog")),
        (ClassEntry(name="dog"), ClassEntry(name="hound", aliases=("dog",))),
        (ClassEntry(name="hound", aliases=("dog",)), ClassEntry(name="wolf", aliases=("dog",))),
    ],
)
def test_rejects_a_name_that_stands_for_two_classes(entries):
    with pytest.raises(
        ValidationError, match="class names and aliases must be unique, but these occur more than once: dog"
    ):
        vocabulary(*entries)


def test_accepts_at_most_254_classes():
    entries = [ClassEntry(name=f"class {number}") for number in range(255)]
    assert vocabulary(*entries[:254]).ids["class 253"] == 254
    with pytest.raises(ValidationError, match="got 255 classes, but the 8-bit ids of masks allow at most 254"):
        vocabulary(*entries)


def test_rejects_unknown_keys():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ClassEntry.model_validate({"name": "dog", "color": (1, 2, 3)})
