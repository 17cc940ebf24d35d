"""The results of runs that have completed: their metrics, and the figures that their settings rule out."""

import pytest

from clipes.tasks.ablation.finished_runs import completed_run, missing_figures
from clipes.tasks.ablation.grid import load_grid
from clipes.tasks.ablation.variant_runs import ablation_config, variant_runs

GRID = """
title: T
settings: {train.enabled: false}
variants: {none: {cam.refine: none}, logits: {cam.softmax: false}, CAA: {}}
show: [initial_cam, refined_cam, sharpness]
"""
SCORES = {"miou": 0.5}


@pytest.fixture
def planned(tmp_path, configs):
    (tmp_path / "mine.yaml").write_text(GRID)
    grid = load_grid(str(tmp_path / "mine.yaml"))
    config = ablation_config(str(configs / "demo.yaml"), (), grid, {"store": str(tmp_path / "store")})
    return grid, {run.variant.label: run for run in variant_runs(config, grid)}


def test_the_settings_decide_which_figures_a_run_has(planned):
    _, runs = planned
    found = {label: missing_figures(run.config) for label, run in runs.items()}
    assert found == {
        "none": {"refined_cam": "the CAMs are not refined (cam.refine=none)"},
        "logits": {"sharpness": "the scores of the CAMs are logits (cam.softmax=false)"},
        "CAA": {},
    }


def test_cams_that_are_not_refined_have_no_score_of_refined_cams(planned):
    grid, runs = planned
    metrics = {"initial_cam": SCORES, "refined_cam": SCORES, "pseudo_mask": SCORES}
    shown = grid.model_copy(update={"show": ("initial_cam", "refined_cam")})
    none, caa = (completed_run(runs[label], shown, metrics, None) for label in ("none", "CAA"))
    assert none.metrics.keys() == {"initial_cam", "pseudo_mask"}
    assert caa.metrics == metrics
    assert none.name == "demo-mine-none"
    assert none.uri.endswith("store/runs/demo-mine-none")
