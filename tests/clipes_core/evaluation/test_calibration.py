import numpy as np
import pytest

from clipes_core.errors import ShapeError
from clipes_core.evaluation.calibration import ConfidenceRange, calibration, calibration_error, count_by_confidence


def bytes_of(*rows):
    return np.array(rows, np.uint8)


def levels(**counts):
    """Return (256,) counts from keyword arguments such as `at_255=3`."""
    found = np.zeros(256, np.int64)
    for name, count in counts.items():
        found[int(name.removeprefix("at_"))] = count
    return found


def test_pixels_are_counted_at_their_level_of_confidence_if_they_have_a_true_id():
    confidence, mask = bytes_of([255, 255, 10], [10, 255, 0]), bytes_of([1, 0, 2], [2, 1, 0])
    truth = bytes_of([1, 1, 2], [0, 255, 0])
    counted, right = count_by_confidence(confidence, mask, truth)
    assert counted.tolist() == levels(at_255=2, at_10=2, at_0=1).tolist()
    assert right.tolist() == levels(at_255=1, at_10=1, at_0=1).tolist()


@pytest.mark.parametrize("changed", [0, 1, 2])
@pytest.mark.parametrize("other", [np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.int64)])
def test_maps_of_another_shape_or_type_are_refused(changed, other):
    arrays = [np.zeros((2, 2), np.uint8)] * 3
    arrays[changed] = other
    with pytest.raises(ShapeError, match="must be uint8 arrays of the same shape"):
        count_by_confidence(*arrays)


def test_the_accuracy_of_a_range_is_its_share_of_right_pixels():
    counted, right = levels(at_255=6, at_252=2, at_51=4), levels(at_255=3, at_252=2, at_51=1)
    # 252 / 255 is below 0.99
    assert calibration(counted, right) == (
        ConfidenceRange(0.0, 4, pytest.approx(0.2), 0.25),
        ConfidenceRange(0.95, 2, pytest.approx(252 / 255), 1.0),
        ConfidenceRange(0.99, 6, 1.0, 0.5),
    )


def test_a_confidence_on_the_border_of_two_ranges_belongs_to_the_upper_one():
    (found,) = calibration(levels(at_153=1), levels())  # 153 / 255 = 0.6
    assert found.low == 0.6


def test_the_calibration_error_weights_the_differences_by_pixels():
    ranges = (ConfidenceRange(0.0, 1, 0.4, 0.2), ConfidenceRange(0.9, 3, 1.0, 0.6))
    assert calibration_error(ranges) == pytest.approx((0.2 + 3 * 0.4) / 4)


def test_a_calibrated_confidence_has_no_error():
    assert calibration_error(calibration(levels(at_51=5), levels(at_51=1))) == pytest.approx(0)
