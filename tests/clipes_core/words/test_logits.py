import numpy as np
import pytest

from clipes_core.errors import ShapeError
from clipes_core.words.logits import photo_logits, softmax_share

# two photos, classes 1 and 2 (class 1 has two texts), and one background word
TEXT_IDS = np.array([1, 1, 2, 0])
TEXT_LOGITS = np.array([[1.0, 3.0, 5.0, 7.0], [0.0, 0.0, 1.0, 2.0]])
WORD_LOGITS = np.array([[4.0], [6.0]])


def test_texts_are_sorted_into_classes_and_background_words():
    logits = photo_logits([(1, 2), (2,)], TEXT_IDS, TEXT_LOGITS, WORD_LOGITS)

    assert logits.present.tolist() == [[True, True], [False, True]]
    assert logits.classes.tolist() == [[2.0, 5.0], [0.0, 1.0]]  # the mean of the two texts
    assert logits.background.tolist() == [[7.0], [2.0]]
    assert logits.words.tolist() == [[4.0], [6.0]]


def test_the_rest_of_the_softmax_has_the_classes_of_the_photo_and_the_background():
    logits = photo_logits([(1, 2), (2,)], TEXT_IDS, TEXT_LOGITS, WORD_LOGITS)

    assert np.exp(logits.log_rest()) == pytest.approx([np.exp([2, 5, 7]).sum(), np.exp([1, 2]).sum()])
    assert np.exp(logits.log_rest(without_class=1)) == pytest.approx([np.exp([2, 7]).sum(), np.exp(2)])
    assert np.exp(logits.log_rest(without_background=0)) == pytest.approx([np.exp([2, 5]).sum(), np.exp(1)])
    assert logits.log_rest(without_class=1, without_background=0).tolist() == [2.0, -np.inf]
    assert logits.present.tolist() == [[True, True], [False, True]]  # not changed


def test_a_share_is_a_softmax_score():
    assert softmax_share(np.log([3.0, 1.0]), np.log([1.0, 3.0])) == pytest.approx([0.75, 0.25])
    assert softmax_share(np.array([1000.0, -1000.0, 5.0]), np.array([0.0, 0.0, -np.inf])).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(("texts", "words"), [(TEXT_LOGITS[:, :3], WORD_LOGITS), (TEXT_LOGITS, WORD_LOGITS[:1])])
def test_refuses_arrays_of_different_sizes(texts, words):
    with pytest.raises(ShapeError, match=r"text_logits must be \(2, 4\) and word_logits \(2, W\)"):
        photo_logits([(1, 2), (2,)], TEXT_IDS, texts, words)
