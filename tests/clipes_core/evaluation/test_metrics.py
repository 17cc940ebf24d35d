import numpy as np
import pytest

from clipes_core.errors import ErrorKind, PhotoError, ShapeError
from clipes_core.evaluation.metrics import (
    Triplets,
    cam_confusions,
    confusion,
    from_triplets,
    scores_from_confusion,
    to_triplets,
)
from clipes_core.pseudo_mask import IGNORE_INDEX, scores_with_background


def ids(values: list[list[int]]) -> np.ndarray:
    return np.array(values, np.uint8)


def test_pairs_of_ids_are_counted_except_where_the_truth_is_ignored():
    truth = ids([[0, 0, 1], [2, 255, 2]])
    prediction = ids([[0, 1, 1], [2, 1, 0]])

    matrix = confusion(truth, prediction, num_classes=3)

    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_any_prediction_is_accepted_where_the_truth_is_ignored():
    assert confusion(ids([[255, 0]]), ids([[255, 0]]), num_classes=2).tolist() == [[1, 0], [0, 0]]


def test_nothing_is_counted_if_all_truth_is_ignored():
    matrix = confusion(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8), num_classes=2)
    assert matrix.tolist() == [[0, 0], [0, 0]]


def test_255_labels_are_counted():
    truth = np.arange(255, dtype=np.uint8).reshape(15, 17)
    assert np.array_equal(confusion(truth, truth, num_classes=255), np.eye(255))


def test_an_unknown_true_id_is_a_photo_error():
    with pytest.raises(PhotoError, match=r"truth has id 3, but valid ids are 0\.\.2 and 255 \(ignored\)") as caught:
        confusion(ids([[3, 255]]), ids([[0, 0]]), num_classes=3)
    assert caught.value.kind is ErrorKind.BAD_TRUTH


@pytest.mark.parametrize("predicted", [3, IGNORE_INDEX])
def test_rejects_an_unknown_predicted_id(predicted):
    with pytest.raises(ShapeError, match=rf"prediction has id {predicted}, but the classes are 0\.\.2"):
        confusion(ids([[0, 1]]), ids([[0, predicted]]), num_classes=3)


def test_rejects_maps_of_different_sizes():
    with pytest.raises(ShapeError, match=r"truth \(1, 2\) and prediction \(2, 1\) must have the same size"):
        confusion(ids([[0, 1]]), ids([[0], [1]]), num_classes=2)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.int64), np.zeros((1, 2, 2), np.uint8)])
def test_rejects_anything_but_8_bit_maps(wrong):
    right = np.zeros((2, 2), np.uint8)
    with pytest.raises(ShapeError, match=r"truth must be \(H, W\) uint8, got"):
        confusion(wrong, right, num_classes=2)
    with pytest.raises(ShapeError, match=r"prediction must be \(H, W\) uint8, got"):
        confusion(right, wrong, num_classes=2)
    with pytest.raises(ShapeError, match=r"truth must be \(H, W\) uint8, got"):
        cam_confusions(np.zeros((0, 2, 2)), np.array([], int), wrong, [1], num_classes=2)


def test_triplets_hold_the_nonzero_cells():
    triplets = to_triplets(np.array([[5, 0, 1], [0, 0, 0], [2, 0, 7]]))
    assert triplets.truth.tolist() == [0, 0, 2, 2]
    assert triplets.prediction.tolist() == [0, 2, 0, 2]
    assert triplets.pixels.tolist() == [5, 1, 2, 7]
    assert [triplets.truth.dtype, triplets.prediction.dtype, triplets.pixels.dtype] == ["i2", "i2", "i8"]


def test_triplets_rebuild_their_matrix():
    matrix = np.random.default_rng(0).integers(0, 3, (255, 255))
    assert np.array_equal(from_triplets(to_triplets(matrix), num_classes=255), matrix)


def test_triplets_of_several_photos_add_up():
    triplets = Triplets(truth=np.array([0, 1, 0]), prediction=np.array([1, 1, 1]), pixels=np.array([3, 4, 5]))
    assert from_triplets(triplets, num_classes=2).tolist() == [[0, 8], [0, 4]]


def test_an_empty_list_of_triplets_gives_a_matrix_of_zeros():
    none = to_triplets(np.zeros((2, 2), np.int64))
    assert from_triplets(none, num_classes=2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("truth", "prediction"), [(-1, 0), (0, 2)])
def test_rejects_triplets_with_unknown_ids(truth, prediction):
    triplets = Triplets(np.array([truth]), np.array([prediction]), np.array([1]))
    with pytest.raises(ShapeError, match=rf"have ids {truth}\.\.{prediction}, but the classes are 0\.\.1"):
        from_triplets(triplets, num_classes=2)


def test_scores_equal_those_worked_out_by_hand():
    matrix = np.array([[6, 2, 0], [1, 3, 0], [1, 1, 2]])
    # 16 pixels; true 8, 4, 4; predicted 8, 6, 2; right 6, 3, 2; unions 10, 7, 4
    scores = scores_from_confusion(matrix)
    assert scores.class_iou == pytest.approx([6 / 10, 3 / 7, 2 / 4])
    assert scores.miou == pytest.approx((6 / 10 + 3 / 7 + 2 / 4) / 3)
    assert scores.pixel_accuracy == pytest.approx(11 / 16)
    assert scores.mean_accuracy == pytest.approx((6 / 8 + 3 / 4 + 2 / 4) / 3)
    assert scores.fwiou == pytest.approx(8 / 16 * 6 / 10 + 4 / 16 * 3 / 7 + 4 / 16 * 2 / 4)


def test_a_class_without_true_pixels_has_no_score():
    scores = scores_from_confusion(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 4]]))
    assert scores.class_iou == pytest.approx([3 / 4, np.nan, 1], nan_ok=True)
    assert scores.miou == pytest.approx((3 / 4 + 1) / 2)
    assert scores.pixel_accuracy == pytest.approx(7 / 8)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 1) / 2)
    assert scores.fwiou == pytest.approx(4 / 8 * 3 / 4 + 4 / 8)


def test_a_class_that_is_never_found_scores_zero():
    scores = scores_from_confusion(np.array([[4, 0], [4, 0]]))
    assert scores.class_iou.tolist() == [0.5, 0]
    assert scores.miou == 0.25


def test_a_perfect_prediction_scores_one():
    scores = scores_from_confusion(np.diag([9, 2, 1]))
    assert (scores.miou, scores.pixel_accuracy, scores.mean_accuracy, scores.fwiou) == (1, 1, 1, 1)


def test_scores_of_no_pixels_are_nan():
    scores = scores_from_confusion(np.zeros((2, 2), np.int64))
    assert np.isnan([scores.miou, scores.pixel_accuracy, scores.mean_accuracy, scores.fwiou]).all()
    assert np.isnan(scores.class_iou).all()


def test_pooled_scores_are_not_the_mean_over_photos():
    first, second = np.array([[9, 1], [0, 0]]), np.array([[0, 0], [5, 5]])
    # pooled: background 9 / (9 + 1 + 5), class 5 / (5 + 1 + 5)
    assert scores_from_confusion(first + second).miou == pytest.approx((9 / 15 + 5 / 11) / 2)


def test_rejects_a_matrix_that_is_not_square():
    with pytest.raises(ShapeError, match=r"confusion matrix must be square, got \(2, 3\)"):
        scores_from_confusion(np.zeros((2, 3)))


def test_cams_are_scored_at_each_background_power():
    cams = np.array([[[0.4, 0.2, 0.9, 0.1]], [[0.1, 0.3, 0.1, 0.05]]])
    truth = ids([[2, 3, 255, 0]])
    # peaks 0.4 0.3 0.9 0.1. p = 1 leaves 0.6 0.7: both background. p = 2: 0.36 < 0.4 but 0.49 > 0.3.
    # p = 4: 0.13 and 0.24 are below; 0.9^4 = 0.66 > 0.1 stays background
    counts = cam_confusions(cams, np.array([2, 3]), truth, powers=[1, 2, 4], num_classes=4)

    expected = np.zeros((3, 4, 4), int)
    expected[:, 0, 0] = 1
    expected[0, 2, 0] = expected[0, 3, 0] = 1
    expected[1, 2, 2] = expected[1, 3, 0] = 1
    expected[2, 2, 2] = expected[2, 3, 3] = 1
    assert counts.tolist() == expected.tolist()


def test_a_tie_with_background_is_background():
    counts = cam_confusions(np.full((1, 1, 1), 0.5), np.array([1]), ids([[1]]), powers=[1], num_classes=2)
    assert counts.tolist() == [[[0, 0], [1, 0]]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_cams_are_scored_by_the_argmax_including_background(dtype):
    rng = np.random.default_rng(0)
    cams = (rng.integers(0, 17, (3, 20, 30)) / 16).astype(dtype)  # multiples of 1/16 produce ties
    class_ids, truth = np.array([5, 2, 9]), rng.integers(0, 11, (20, 30), dtype=np.uint8)
    truth[truth == 10] = IGNORE_INDEX
    powers = [1, 1.5, 2, 7, 10]

    counts = cam_confusions(cams, class_ids, truth, powers, num_classes=10)

    labels = np.array([0, 5, 2, 9], np.uint8)
    for power, count in zip(powers, counts, strict=True):
        prediction = labels[scores_with_background(cams, power).argmax(axis=0)]
        assert np.array_equal(count, confusion(truth, prediction, num_classes=10))


def test_without_classes_every_pixel_is_predicted_background():
    counts = cam_confusions(np.zeros((0, 1, 2)), np.array([], int), ids([[0, 1]]), [1, 9], num_classes=2)
    assert counts.tolist() == [[[1, 0], [1, 0]]] * 2


def test_does_not_mutate_its_inputs():
    rng = np.random.default_rng(0)
    cams, class_ids, truth = (
        rng.random((2, 4, 4)),
        np.array([1, 2]),
        rng.integers(0, 3, (4, 4), dtype=np.uint8),
    )
    before = cams.copy(), class_ids.copy(), truth.copy()
    matrix = cam_confusions(cams, class_ids, truth, [1], num_classes=3)[0]
    confusion(truth, truth, num_classes=3)
    kept = matrix.copy()
    from_triplets(to_triplets(matrix), num_classes=3)
    scores_from_confusion(matrix)
    for array, copy in zip((cams, class_ids, truth, matrix), (*before, kept), strict=True):
        assert np.array_equal(array, copy)


def test_rejects_cams_whose_size_differs_from_the_truth():
    with pytest.raises(ShapeError, match=r"for ids \(1,\) and truth \(1, 2\), got \(1, 2, 2\)"):
        cam_confusions(np.zeros((1, 2, 2)), np.array([1]), ids([[0, 1]]), [1], num_classes=2)


@pytest.mark.parametrize("class_id", [0, 2])
def test_rejects_cams_of_unknown_classes(class_id):
    with pytest.raises(ShapeError, match=rf"class_ids must be in \[1, 1\], got \[{class_id}\]"):
        cam_confusions(np.zeros((1, 1, 1)), np.array([class_id]), ids([[0]]), [1], num_classes=2)


def test_unknown_truth_of_cams_is_a_photo_error():
    with pytest.raises(PhotoError, match="truth has id 9"):
        cam_confusions(np.zeros((1, 1, 1)), np.array([1]), ids([[9]]), [1], num_classes=2)
