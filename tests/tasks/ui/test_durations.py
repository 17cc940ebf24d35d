import pytest

from clipes.tasks.ui.durations import rough_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00042, "0.4 ms"),
        (0.0391, "39 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1.0 min"),
        (95, "1.6 min"),
        (3_569, "59 min"),
        (3_599, "1.0 h"),
        (44_880, "12 h"),
        (555 * 3_600, "555 h"),
    ],
)
def test_a_duration_is_rounded_in_the_largest_unit_that_fits(seconds, text):
    assert rough_duration(seconds) == text
