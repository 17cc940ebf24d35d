import pytest

from clipes.flows.terminal.estimate_table import time_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (119.7, "2 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7170, "2 h 0 min"),
        (47.99 * 3600, "2 d 0 h"),
        (10 * 86_400 + 23.6 * 3600, "11 d 0 h"),
    ],
)
def test_a_duration_is_rounded_to_its_two_largest_units(seconds, text):
    assert time_text(seconds) == text
