import numpy as np
import pytest

from clipes_core.errors import ShapeError
from clipes_core.text_features import TextFeatures, competitors, text_counts

# Two texts of class 1, one text of class 2, three texts of class 4 and two background words.
FEATURES = TextFeatures(np.array([1, 1, 2, 4, 4, 4, 0, 0]), 10.0 * np.arange(8)[:, None] + np.arange(2), 100.0)


def starts(passes):
    """Return the first entry of each feature, which identifies the feature."""
    return passes[..., 0].tolist()


def test_the_classes_of_a_photo_keep_their_order_before_the_background():
    passes = FEATURES.passes([2])
    assert passes.shape == (1, 3, 2)
    assert passes.tolist() == [[[20, 21], [60, 61], [70, 71]]]
    assert starts(FEATURES.passes([2, 1])) == [[20, 0, 60, 70], [20, 10, 60, 70]]
    assert starts(FEATURES.passes([1, 2])) == [[0, 20, 60, 70], [10, 20, 60, 70]]


def test_a_class_with_fewer_texts_than_passes_repeats_them():
    assert starts(FEATURES.passes([1, 4])) == [[0, 30, 60, 70], [10, 40, 60, 70], [0, 50, 60, 70]]


@pytest.mark.parametrize(("class_ids", "counts"), [([1, 4, 2], [2, 3, 1]), ([2], [1]), ([4, 1], [3, 2])])
def test_there_are_as_many_passes_as_texts_of_the_largest_class(class_ids, counts):
    assert FEATURES.text_counts(class_ids) == counts
    assert len(FEATURES.passes(class_ids)) == max(counts)


def test_without_background_words_the_classes_compete_alone():
    alone = TextFeatures(FEATURES.class_ids[:6], FEATURES.features[:6], 100.0)
    assert starts(alone.passes([1, 2])) == [[0, 20], [10, 20]]


def test_passes_share_no_memory_with_the_features():
    features = TextFeatures(FEATURES.class_ids, FEATURES.features.astype(np.float32), 100.0)
    passes = features.passes([2, 4])
    assert passes.dtype == np.float32
    passes.fill(-1)
    assert np.array_equal(features.features, FEATURES.features)


@pytest.mark.parametrize("class_ids", [[], [3], [1, 5]])
def test_refuses_classes_without_texts(class_ids):
    got = str(class_ids).replace("[", r"\[")
    with pytest.raises(ShapeError, match=rf"one or more ids in 1..4 that have texts, got {got}"):
        FEATURES.passes(class_ids)
    with pytest.raises(ShapeError, match=rf"one or more ids in 1..4 that have texts, got {got}"):
        FEATURES.text_counts(class_ids)


def test_competitors_are_found_at_any_position_of_their_texts():
    ids = np.array([0, 3, 1, 0, 3, 2])
    assert competitors(ids, [3, 1]).tolist() == [[1, 2, 0, 3], [4, 2, 0, 3]]
    assert competitors(ids, [2]).tolist() == [[5, 0, 3]]
    assert competitors(ids, [3, 1]).dtype == np.intp
    assert text_counts(ids, [1, 3]) == [1, 2]
