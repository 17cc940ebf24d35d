import pytest

from clipes_core.evaluation.truth_check import PhotoTruth, check_truths


def photos(*pairs):
    return [PhotoTruth(str(place), frozenset(labels), frozenset(truth)) for place, (labels, truth) in enumerate(pairs)]


def checked(*pairs):
    return check_truths(photos(*pairs))


@pytest.mark.parametrize("truth", [{1}, {1, 2}])
def test_a_true_mask_with_a_label_agrees(truth):
    check = checked(({1, 2}, truth))
    assert (check.without_labels, check.with_others) == ((), ())
    assert (check.suspicious, check.meaningless, check.incomplete) == (False, False, False)


@pytest.mark.parametrize("truth", [set(), {3}])
def test_a_true_mask_without_any_label_is_listed(truth):
    check = checked(({1}, truth), ({1}, {1}))
    assert check.without_labels == (PhotoTruth("0", frozenset({1}), frozenset(truth)),)


def test_a_true_mask_with_another_class_is_listed():
    assert checked(({1}, {1, 3}), ({1}, {1})).with_others == (PhotoTruth("0", frozenset({1}), frozenset({1, 3})),)


@pytest.mark.parametrize(
    ("without", "suspicious", "meaningless"),
    [(0, False, False), (4, False, False), (5, True, False), (49, True, False), (50, True, True), (100, True, True)],
)
def test_the_share_of_true_masks_without_labels_decides_what_the_scores_mean(without, suspicious, meaningless):
    check = checked(*[({1}, set())] * without, *[({1}, {1})] * (100 - without))
    assert (check.suspicious, check.meaningless) == (suspicious, meaningless)


@pytest.mark.parametrize(("others", "incomplete"), [(4, False), (5, True)])
def test_labels_are_incomplete_if_many_true_masks_have_more_classes(others, incomplete):
    assert checked(*[({1}, {1, 2})] * others, *[({1}, {1})] * (100 - others)).incomplete == incomplete


def test_photos_without_labels_count_only_if_no_photo_has_labels():
    assert [photo.image_id for photo in checked((set(), {1}), ({1}, {1})).photos] == ["1"]
    assert not checked((set(), set()), ({1}, {1})).suspicious


@pytest.mark.parametrize(("with_class", "meaningless"), [(0, True), (1, False)])
def test_without_labels_scores_mean_nothing_if_no_true_mask_has_a_class(with_class, meaningless):
    check = checked(*[(set(), {1})] * with_class, *[(set(), set())] * 9)
    assert (check.suspicious, check.meaningless, check.incomplete) == (meaningless, meaningless, False)


def test_no_photos_are_not_suspicious():
    check = checked()
    assert (check.suspicious, check.meaningless, check.incomplete) == (False, False, False)


def predicted(truth, main_class, labels=()):
    return PhotoTruth("a", frozenset(labels), frozenset(truth), predicted=main_class)


@pytest.mark.parametrize(("wrong", "contradicts"), [(0, False), (4, False), (5, True), (10, True)])
def test_without_labels_most_true_masks_must_contain_the_predicted_class(wrong, contradicts):
    check = check_truths([*[predicted({1, 2}, 3)] * wrong, *[predicted({1, 2}, 1)] * (10 - wrong)])
    assert (len(check.without_predicted), check.contradicts_predictions) == (wrong, contradicts)
    assert (check.suspicious, check.meaningless) == (False, False)


@pytest.mark.parametrize("photo", [predicted({1}, 2, labels={1}), predicted({1}, None), predicted((), 2)])
def test_a_prediction_counts_only_for_a_photo_without_labels_if_both_masks_have_a_class(photo):
    check = check_truths([photo, photo])
    assert (check.predicted, check.contradicts_predictions) == ((), False)


def test_the_summary_gives_counts_and_what_follows():
    none, all_ = "none of the labels of their photo", [({1}, {1})]
    assert checked(({1}, {2}), *all_).summary == f"1 of 2 true masks contain {none}, so clipes shows no scores for them"
    assert (
        checked(({1}, {2}), *all_ * 9).summary == f"1 of 10 true masks contain {none}, so the scores may mean nothing"
    )
    assert checked((set(), set())).summary == "1 of 1 true masks contain no class, so clipes shows no scores for them"
