import numpy as np
import pytest

from clipes_core.evaluation.baseline import centre_box


def test_a_single_label_fills_a_centred_box_half_as_wide_and_high():
    mask = centre_box((4, 8), np.array([7]))
    assert mask.dtype == np.uint8
    assert mask.tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 7, 7, 7, 7, 0, 0],
        [0, 0, 7, 7, 7, 7, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_several_labels_divide_the_box_in_their_order():
    assert centre_box((2, 8), np.array([9, 2])).tolist() == [[0, 0, 9, 9, 2, 2, 0, 0], [0] * 8]


def test_strips_differ_in_width_by_at_most_one_pixel():
    (row,) = centre_box((3, 20), np.array([1, 2, 3]))[1:2].tolist()  # a box of 10 columns
    assert row == [0] * 5 + [1] * 3 + [2] * 3 + [3] * 4 + [0] * 5


def test_labels_beyond_the_number_of_columns_are_dropped():
    assert centre_box((2, 4), np.array([1, 2, 3])).tolist() == [[0, 2, 3, 0], [0] * 4]


@pytest.mark.parametrize("size_hw", [(4, 8), (1, 1), (1, 300)])
def test_without_labels_every_pixel_is_background(size_hw):
    mask = centre_box(size_hw, np.array([], np.int64))
    assert mask.shape == size_hw
    assert not mask.any()


@pytest.mark.parametrize(("size_hw", "pixels"), [((5, 7), 2 * 3), ((480, 640), 240 * 320), ((1, 9), 0)])
def test_odd_sides_are_rounded_down(size_hw, pixels):
    assert (centre_box(size_hw, np.array([254])) == 254).sum() == pixels
