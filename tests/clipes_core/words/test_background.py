import numpy as np
import pytest

from clipes_core.words.background import EXAMPLES, firings
from clipes_core.words.logits import PhotoLogits

SHOWN = np.array([[True, False], [True, False], [False, True]])
ZEROS = np.zeros((3, 2))


def test_scores_by_hand():
    """The softmax has the class of the photo, the background word and the new word."""
    words = np.log(np.array([[8.0], [0.5], [0.25]]))
    boat, cow = firings(PhotoLogits(SHOWN, ZEROS, ZEROS[:, :1], words), ["harbour"], [None])

    assert (boat.place, boat.word, boat.photos) == (0, "harbour", 2)
    assert boat.share == pytest.approx((8 / 10 + 0.5 / 2.5) / 2)
    assert boat.share_elsewhere == pytest.approx(0.25 / 2.25)
    assert boat.even == pytest.approx(1 / 3)
    assert (boat.fires, boat.beats) == (0.5, 0.5)
    assert boat.examples == (0,)
    assert (cow.place, cow.fires, cow.beats, cow.examples) == (1, 0.0, 0.0, ())


def test_a_background_word_does_not_compete_with_itself():
    words = np.zeros((3, 1))
    known, new = (
        firings(PhotoLogits(SHOWN, ZEROS, ZEROS[:, :1], words), ["sea"], [place])[0].share for place in (0, None)
    )
    assert (known, new) == (pytest.approx(1 / 2), pytest.approx(1 / 3))


def test_words_are_ordered_by_share_within_each_class():
    words = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    found = firings(PhotoLogits(SHOWN, ZEROS, ZEROS[:, :1], words), ["grass", "sea"], [None, None])
    assert [(each.place, each.word) for each in found] == [(0, "sea"), (0, "grass"), (1, "grass"), (1, "sea")]


def test_the_examples_are_the_photos_in_which_the_word_is_strongest():
    words = np.array([[3.0], [5.0], [4.0], [9.0], [2.0]])
    shown = np.ones((5, 1), dtype=bool)
    (found,) = firings(PhotoLogits(shown, np.zeros((5, 1)), np.zeros((5, 0)), words), ["sea"], [None])
    assert found.examples == (3, 1, 2)
    assert len(found.examples) == EXAMPLES
    assert found.share_elsewhere is None  # all photos show the class


def test_classes_that_no_photo_shows_have_no_entry():
    shown = np.array([[False, True]])
    found = firings(PhotoLogits(shown, np.zeros((1, 2)), np.zeros((1, 1)), np.zeros((1, 1))), ["sea"], [None])
    assert [each.place for each in found] == [1]
