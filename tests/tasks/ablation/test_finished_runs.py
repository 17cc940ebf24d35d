"""The results of runs that have completed: their metrics, and the figures that their settings rule out."""

import pytest

from clipes.tasks.ablation.finished_runs import completed_run, earlier_results, missing_figures
from clipes.tasks.ablation.grid_file import load_grid
from clipes.tasks.ablation.record import NOTHING_MADE
from clipes.tasks.ablation.variant_runs import ablation_config, variant_runs
from clipes.tasks.runs.record.contents import begun_json
from clipes.tasks.storage.layout import METRICS_FILE, RUN_JSON
from clipes.tasks.storage.run_files import RunFiles, read_seals

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


def write_run(run, state="completed", until="mask_scores", **sections):
    """Write the files of a run that has ended, whose config has other sections than the run."""
    config = run.config.model_copy(update=sections)
    files = RunFiles(config.store, config.name)
    files.write_json(METRICS_FILE, {"warnings": [run.variant.label]})
    begun = {**begun_json(config, until), **NOTHING_MADE, "photos": 4, "seals": read_seals(files)}
    files.write_json(RUN_JSON, {**begun, "state": state})


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"until": "segmenter_scores"}, True),
        ({"until": "masks"}, False),
        ({"state": "failed"}, False),
        ({"state": "running"}, False),
    ],
)
def test_a_run_of_an_earlier_call_is_kept_if_it_has_completed_the_stages(changes, kept, planned):
    grid, runs = planned
    grid = grid.model_copy(update={"show": ("initial_cam",)})
    write_run(runs["CAA"], **changes)
    found = [(run.variant.label, result.metrics["warnings"]) for run, result in earlier_results(runs.values(), grid)]
    assert found == ([("CAA", ["CAA"])] if kept else [])


@pytest.mark.parametrize(
    ("section", "key", "value", "kept"),
    [("cam", "power", 1, False), ("execution", "retries", 7, True), ("report", "gallery", 3, True)],
)
def test_a_run_of_an_earlier_call_is_kept_if_its_settings_decide_the_same_figures(section, key, value, kept, planned):
    grid, runs = planned
    grid, run = grid.model_copy(update={"show": ("initial_cam",)}), runs["CAA"]
    write_run(run, **{section: getattr(run.config, section).model_copy(update={key: value})})
    assert bool(earlier_results([run], grid)) is kept


def test_a_damaged_run_of_an_earlier_call_is_left_out_with_a_warning(planned, caplog):
    grid, runs = planned
    write_run(runs["CAA"])
    RunFiles(runs["CAA"].config.store, "demo-mine-caa").write_json(METRICS_FILE, {"warnings": ["other"]})
    assert earlier_results([runs["CAA"]], grid) == []
    assert "the table lacks the run demo-mine-caa, whose files are damaged" in caplog.text
