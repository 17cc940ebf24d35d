import numpy as np
import pytest

from clipes_core.evaluation.class_errors import Confusion, largest_confusions, precision, recall, row_shares

MATRIX = np.array([[6, 2, 0, 0], [1, 3, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]])


def test_precision_is_the_right_share_of_the_predicted_pixels():
    assert precision(MATRIX) == pytest.approx([6 / 11, 3 / 5, np.nan, np.nan], nan_ok=True)


def test_recall_is_the_found_share_of_the_true_pixels():
    assert recall(MATRIX) == pytest.approx([6 / 8, 3 / 4, 0, np.nan], nan_ok=True)


def test_rows_are_divided_by_their_sums():
    expected = np.array([[0.75, 0.25, 0, 0], [0.25, 0.75, 0, 0], [1, 0, 0, 0], [np.nan] * 4])
    assert row_shares(MATRIX) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_largest_confusions_come_first(count):
    expected = (Confusion(2, 0, 4, 1.0), Confusion(0, 1, 2, 0.25), Confusion(1, 0, 1, 0.25))
    assert largest_confusions(MATRIX, count) == expected[:count]


def test_equal_confusions_are_ordered_by_id():
    pairs = [(each.truth, each.prediction) for each in largest_confusions(np.ones((2, 2), int), 4)]
    assert pairs == [(0, 1), (1, 0)]


def test_a_perfect_prediction_has_no_confusions():
    assert largest_confusions(np.diag([3, 4]), 5) == ()


def test_inputs_are_not_changed():
    before = MATRIX.copy()
    largest_confusions(MATRIX, 3), row_shares(MATRIX)
    assert np.array_equal(MATRIX, before)
