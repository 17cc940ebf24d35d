import numpy as np
import pytest
from support.oracle import oracle_sharpness

from clipes_core.words.logits import PhotoLogits
from clipes_core.words.synonyms import PhotoCounts, count_photos, rank_words


def logits(present, words, classes=None, background=None):
    """Return the logits of photos; without other values, each class and the only background word have the logit 0."""
    present = np.asarray(present, dtype=bool)
    zeros = np.zeros(present.shape)
    return PhotoLogits(
        present, zeros if classes is None else classes, zeros[:, :1] if background is None else background, words
    )


def test_scores_by_hand():
    """The first photo shows class 0, the second class 1. The word of class 0 takes its place."""
    found = rank_words(logits([[1, 0], [0, 1]], np.log([[3.0], [2.0]])), 0, ["tern"], [0])[0]

    assert (found.rank, found.word) == (1, "tern")
    assert found.share_with == pytest.approx(3 / (3 + 1))  # against the background word
    assert found.share_without == pytest.approx(2 / (2 + 1 + 1))  # against class 1 and the background word
    assert found.margin == pytest.approx(0.25)
    assert found.auc == 1.0
    assert found.sharpness is None  # no photo shows two classes


def test_the_sharpness_is_that_of_the_scores_with_the_word_in_the_place_of_the_class():
    own = np.array([[0.5], [2.0], [-1.0]])
    classes = np.array([[9.0, 1.0], [9.0, 0.5], [9.0, 3.0]])
    found = rank_words(logits([[1, 1], [1, 0], [0, 1]], own, classes), 0, ["tern"], [0])[0]

    first = np.exp([0.5, 1.0]) / np.exp([0.5, 1.0, 0.0]).sum()
    second = np.exp([2.0]) / np.exp([2.0, 0.0]).sum()
    assert found.sharpness == pytest.approx(oracle_sharpness([first, second]))  # the third photo lacks the class


def test_the_word_with_the_largest_margin_is_the_first():
    words = np.array([[1.0, 2.0, 1.0], [1.0, 0.0, 1.0]])
    ranked = rank_words(logits([[1, 0], [0, 1]], words), 0, ["b", "good", "a"], [0, 1, 2])
    assert [(each.rank, each.word) for each in ranked] == [(1, "good"), (2, "a"), (3, "b")]


def test_an_auc_counts_ties_half():
    words = np.array([[1.0], [0.0], [1.0], [0.0]])
    ranked = rank_words(logits([[1, 0], [1, 0], [0, 1], [0, 1]], words), 0, ["tern"], [0])
    assert ranked[0].auc == 0.5
    better = rank_words(logits([[1, 0], [1, 0], [0, 1], [0, 1]], np.array([[3.0], [1.0], [2.0], [0.0]])), 0, ["a"], [0])
    assert better[0].auc == 0.75  # three of four pairs


def test_without_other_photos_the_share_decides():
    ranked = rank_words(logits([[1]], np.array([[0.0, 1.0]])), 0, ["weak", "strong"], [0, 1])
    assert [each.word for each in ranked] == ["strong", "weak"]
    assert ranked[0].margin == ranked[0].share_with
    assert (ranked[0].share_without, ranked[0].auc) == (None, None)


def test_a_class_needs_a_photo():
    with pytest.raises(ValueError, match="needs a photo with the class"):
        rank_words(logits([[0, 1]], np.zeros((1, 1))), 0, ["tern"], [0])


def test_photos_are_counted():
    counted = count_photos(logits([[1, 1], [1, 0], [0, 1]], np.zeros((3, 1))), 0)
    assert counted == PhotoCounts(with_class=2, without_class=1, with_several=1)
