import numpy as np
import pytest

from clipes_core.encodings.run_lengths import cropped_runs, run_lengths
from clipes_core.errors import ShapeError


@pytest.mark.parametrize(
    ("pixels", "lengths"),
    [([], [0]), ([0], [1]), ([1], [0, 1]), ([0, 0, 1, 1, 1, 0], [2, 3, 1]), ([1, 0, 1], [0, 1, 1, 1])],
)
def test_the_first_run_is_one_of_false_pixels(pixels, lengths):
    assert run_lengths(np.array(pixels, bool)).tolist() == lengths


def test_a_mask_is_cropped_to_its_rectangle():
    mask = np.zeros((5, 6), bool)
    mask[1, 2:4] = mask[3, 4] = True
    runs = cropped_runs(mask)
    assert (runs.left, runs.top, runs.width, runs.height) == (2, 1, 3, 3)
    assert runs.lengths.tolist() == [0, 2, 6, 1]


def test_wrong_arrays_are_refused():
    with pytest.raises(ShapeError, match=r"^pixels must be \(N,\) bool, got \(2, 2\) bool$"):
        run_lengths(np.ones((2, 2), bool))
    with pytest.raises(ShapeError, match=r"^mask must be \(H, W\) bool with a True pixel, got \(2, 2\) bool$"):
        cropped_runs(np.zeros((2, 2), bool))
