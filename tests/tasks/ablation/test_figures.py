"""Figures: their stages, and their values in metrics.json."""

import pytest

from clipes.tasks.ablation.figures import COSTS, check_figure, class_of, last_stage, stage_of, value_of
from clipes.tasks.ablation.tables.columns import column_of
from clipes.tasks.stages.registry import run_names

METRICS = {
    "initial_cam": {"miou": 0.5, "class_iou": {"boat": 0.25, "bus": None}},
    "stages": {"cams": {"seconds_per_row": 0.125, "peak_memory_mib": 800}},
    "sharpness": 0.75,
}


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("initial_cam", 0.5),
        ("initial_cam.boat", 0.25),
        ("initial_cam.bus", None),
        ("segmenter", None),
        ("sharpness", 0.75),
        ("cams.seconds", 0.125),
        ("cams.memory", 800),
        ("cams.gpu_memory", None),
        ("masks.seconds", None),
    ],
)
def test_the_value_of_a_figure_comes_from_the_metrics(figure, value):
    assert value_of(METRICS, figure) == value


def test_a_run_goes_on_until_the_last_stage_of_its_figures():
    assert last_stage(["initial_cam", "cams.seconds"]) == "mask_scores"
    assert last_stage(["cams.seconds", "texts.memory"]) == "cams"
    assert last_stage(["sharpness"]) == "texts"
    assert last_stage(["initial_cam", "segmenter.boat"]) == "segmenter_scores"


def test_only_known_figures_are_accepted():
    assert check_figure("cams.memory", None) is None
    assert check_figure("initial_cam.any class", "mask_scores") is None
    assert "did you mean cams.memory?" in (check_figure("cams.memori", None) or "")
    assert "the figure needs the stage mask_scores" in (check_figure("pseudo_mask", "cams") or "")
    assert stage_of("manifest.seconds") is None


def test_a_figure_may_be_of_a_class():
    assert class_of("initial_cam.boat") == "boat"
    assert class_of("initial_cam") is None
    assert class_of("cams.seconds") is None


@pytest.mark.parametrize("stage", run_names()[1:])
@pytest.mark.parametrize("cost", COSTS)
def test_each_stage_has_each_cost_even_if_a_score_has_the_name_of_the_stage(stage, cost):
    figure = f"{stage}.{cost}"
    metrics = {"stages": {stage: {COSTS[cost]: 0.5}}, "segmenter": {"miou": 0.25, "class_iou": {}}}
    assert (stage_of(figure), class_of(figure), value_of(metrics, figure)) == (stage, None, 0.5)
    assert not column_of(figure).is_score
