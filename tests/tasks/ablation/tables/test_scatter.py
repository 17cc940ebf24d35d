import pytest

from clipes.tasks.ablation.tables.scatter import Axis, Point, scatters
from clipes.tasks.ablation.tables.table import table_of


def templates(result_of, numbers, show=("sharpness", "initial_cam")):
    """Return the table of templates, given the sharpness and the mIoU of each."""
    metrics = {
        f"template {place}": [{"sharpness": sharpness, "initial_cam": {"miou": miou}}]
        for place, (sharpness, miou) in enumerate(numbers)
    }
    return table_of(result_of(metrics, show=list(show)))


def test_points_lie_between_the_extremes_of_both_axes(result_of):
    (found,) = scatters(templates(result_of, [(0.1, 0.4), (0.3, 0.2), (0.2, 0.25)]))
    assert found.x == Axis("sharpness", "0.1000", "0.3000")
    assert found.y == Axis("initial CAM", "20.0", "40.0")
    assert found.points == (
        Point("template 0", 0, 1),
        Point("template 1", 1, 0),
        Point("template 2", pytest.approx(0.5), pytest.approx(0.25)),
    )


def test_equal_scores_lie_in_the_middle(result_of):
    (found,) = scatters(templates(result_of, [(0.1, 0.4), (0.3, 0.4)]))
    assert [point.y for point in found.points] == [0.5, 0.5]


@pytest.mark.parametrize("show", [("initial_cam",), ("sharpness",)])
def test_without_sharpness_or_a_score_there_is_no_plot(result_of, show):
    assert scatters(templates(result_of, [(0.1, 0.4), (0.3, 0.2)], show)) == []


def test_a_plot_needs_two_variants_with_both_numbers(result_of):
    assert scatters(templates(result_of, [(0.1, 0.4)])) == []
    assert scatters(templates(result_of, [(0.1, 0.4), (None, 0.2)])) == []
