import pytest

from clipes.tasks.ablation.tables.columns import column_of


@pytest.mark.parametrize(
    ("figure", "heading", "number"),
    [
        ("refined_cam", "refined CAM", "42.0"),
        ("initial_cam.boat", "boat (initial CAM)", "42.0"),
        ("sharpness", "sharpness", "0.4200"),
        ("cams.seconds", "cams: time per photo [ms]", "420.0"),
        ("segmenter_scores.seconds", "segmenter_scores: time per photo [ms]", "420.0"),
        ("segmenter.seconds", "segmenter: time per iteration [ms]", "420.0"),
        ("texts.seconds", "texts: time per text [ms]", "420.0"),
        ("masks.memory", "masks: memory [MiB]", "0"),
    ],
)
def test_the_heading_names_the_figure_and_its_unit(figure, heading, number):
    column = column_of(figure)
    assert (column.heading, column.number(column.unit.factor * 0.42)) == (heading, number)


def test_differences_have_a_sign_unless_they_are_rounded_to_zero():
    column = column_of("initial_cam")
    shown = [column.signed(value) for value in (1.04, -1.06, 0.04, -0.04, None)]
    assert shown == ["+1.0", "−1.1", "0.0", "0.0", "–"]
    assert column.number(None) == "–"


def test_a_class_called_like_a_cost_is_a_class():
    assert column_of("initial_cam.memory").of_class
    assert not column_of("cams.memory").is_score


def test_an_unknown_figure_has_no_column():
    with pytest.raises(ValueError, match=r"cams\.hours is no figure"):
        column_of("cams.hours")
