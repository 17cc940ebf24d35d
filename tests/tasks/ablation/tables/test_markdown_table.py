import pytest

from clipes.tasks.ablation.tables.markdown_table import signed, table_lines


@pytest.mark.parametrize(
    ("difference", "digits", "text"),
    [(1.26, 1, "+1.3"), (-1.26, 1, "−1.3"), (0.04, 1, "0.0"), (-0.04, 1, "0.0"), (-0.04, 2, "−0.04")],
)
def test_differences_have_a_sign_unless_they_are_zero(difference, digits, text):
    assert signed(difference, digits) == text


def test_numbers_are_aligned_to_the_right_and_bars_are_escaped():
    assert table_lines(("what", "mIoU", "note"), [("CAA|MHSA", "70.8", "")], [1]) == [
        "| what | mIoU | note |",
        "|---|---:|---|",
        "| CAA\\|MHSA | 70.8 |  |",
    ]
