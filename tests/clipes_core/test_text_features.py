import numpy as np
import pytest

from clipes_core.errors import ShapeError
from clipes_core.text_features import TextFeatures, competitors, text_counts

# Two texts of class 1, one text of class 2, three texts of class 4 and two background words.
FEATURES = TextFeatures(np.array([1, 1, 2, 4, 4, 4, 0, 0]), 10.0 * np.arange(8)[:, None] + np.arange(2), 100.0)


def softmaxes(features, *class_ids):
    """Return, for each pair, its photo, its own text, and all texts that compete in its softmax."""
    pairs = features.pairs(class_ids)
    competing = [np.flatnonzero(row).tolist() for row in pairs.competes]
    return list(zip(pairs.photos.tolist(), pairs.texts.tolist(), competing, strict=True))


def test_the_pairs_are_ordered_photo_by_photo_and_class_by_class():
    assert softmaxes(FEATURES, [2], [2, 1]) == [
        (0, 2, [2, 6, 7]),
        (1, 2, [0, 2, 6, 7]),
        (1, 0, [0, 2, 6, 7]),
        (1, 1, [1, 2, 6, 7]),
    ]


def test_a_class_with_fewer_texts_than_passes_repeats_them():
    competing = {text: texts for _, text, texts in softmaxes(FEATURES, [1, 4])}
    assert competing == {0: [0, 3, 6, 7], 1: [1, 4, 6, 7], 3: [0, 3, 6, 7], 4: [1, 4, 6, 7], 5: [0, 5, 6, 7]}


@pytest.mark.parametrize(("class_ids", "counts"), [([1, 4, 2], [2, 3, 1]), ([2], [1]), ([4, 1], [3, 2])])
def test_the_texts_of_each_class_are_counted(class_ids, counts):
    assert text_counts(FEATURES.class_ids, class_ids) == counts
    assert len(competitors(FEATURES.class_ids, class_ids)) == max(counts)
    pairs = FEATURES.pairs([class_ids, [2]])
    assert (pairs.counts, pairs.per_class, pairs.per_photo) == ([counts, [1]], [*counts, 1], [sum(counts), 1])


def test_without_background_words_the_classes_compete_alone():
    alone = TextFeatures(FEATURES.class_ids[:6], FEATURES.features[:6], 100.0)
    assert softmaxes(alone, [1, 2]) == [(0, 0, [0, 2]), (0, 1, [1, 2]), (0, 2, [0, 2])]


@pytest.mark.parametrize("class_ids", [[], [3], [1, 5]])
def test_refuses_classes_without_texts(class_ids):
    got = str(class_ids).replace("[", r"\[")
    with pytest.raises(ShapeError, match=rf"one or more ids in 1..4 that have texts, got {got}"):
        FEATURES.pairs([[2], class_ids])
    with pytest.raises(ShapeError, match=rf"one or more ids in 1..4 that have texts, got {got}"):
        text_counts(FEATURES.class_ids, class_ids)


def test_competitors_are_found_at_any_position_of_their_texts():
    ids = np.array([0, 3, 1, 0, 3, 2])
    assert competitors(ids, [3, 1]).tolist() == [[1, 2, 0, 3], [4, 2, 0, 3]]
    assert competitors(ids, [2]).tolist() == [[5, 0, 3]]
    assert competitors(ids, [3, 1]).dtype == np.intp
    assert text_counts(ids, [1, 3]) == [1, 2]
