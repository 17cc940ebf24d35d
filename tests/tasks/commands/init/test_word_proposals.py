"""Proposals of background words."""

import pytest

from clipes.tasks.commands.init.word_proposals import read_proposals


@pytest.mark.parametrize(
    ("classes", "expected", "theme"),
    [
        (["dog", "wild boar"], {"grass", "sky", "meadow", "forest"}, "animals"),
        (["Tomatoes", "pizza"], {"plate", "table"}, "food"),
        (["rust spot"], {"metal surface", "concrete"}, "damage and production"),
        (["delivery_van"], {"street", "parking lot"}, "road traffic"),
    ],
)
def test_background_words_fit_what_the_classes_are_about(classes, expected, theme):
    words, themes = read_proposals().background_words(classes)
    assert expected <= set(words)
    assert theme in themes


def test_no_word_of_a_class_is_a_background_word():
    words, _ = read_proposals().background_words(["trees", "Grass", "grey wall", "dog"])
    assert words
    assert not {"tree", "grass", "wall"} & set(words)


def test_unknown_things_get_the_words_of_every_proposal():
    proposals = read_proposals()
    assert proposals.background_words(["flange"]) == (proposals.everywhere, ())


def test_every_theme_proposes_words_that_are_none_of_its_key_words_alone():
    for theme in read_proposals().themes:
        words, themes = read_proposals().background_words(sorted(theme.words))
        assert words, theme.name
        assert theme.name in themes
