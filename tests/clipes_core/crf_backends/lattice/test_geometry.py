import math

import numpy as np
import pytest

from clipes_core.crf_backends.lattice.geometry import axis_moves, cell_counts, key_strides, scale_factors
from clipes_core.errors import PhotoError


def test_scale_factors_are_those_of_the_paper():
    # sqrt(2/3) (d + 1) / sqrt((j + 1) (j + 2)) for d = 2
    assert scale_factors(2) == pytest.approx([3**0.5, 1])


def test_keys_that_do_not_fit_into_64_bits_are_refused():
    side = np.float32(2**13)
    assert key_strides((side,) * 4).dtype == np.int64
    with pytest.raises(PhotoError, match=r"needs more than 2\^62 cells"):
        key_strides((side,) * 5)


def test_strides_are_the_products_of_the_cells_before():
    largest = np.float32(100), np.float32(7), np.float32(30)
    first, second, _ = cell_counts(largest)
    assert key_strides(largest).tolist() == [1, first, first * second]
    assert math.prod(cell_counts(largest)) > key_strides(largest)[-1]


def test_moves_along_all_axes_lead_back():
    moves = axis_moves(key_strides((np.float32(3), np.float32(4))))
    assert moves.shape == (3,)
    assert moves.sum() == 0
