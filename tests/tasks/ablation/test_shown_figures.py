"""The figures that a grid shows on a data set: those of no class, and those of the data set's classes."""

import pytest

from clipes.tasks.ablation.shown_figures import left_out_line, with_known_figures
from clipes_core.errors import ConfigError

GRID = """
title: T
settings: {train.enabled: false}
variants: {A: {}}
show: [pseudo_mask, initial_cam.boat, initial_cam.train]
"""
PLAIN = "title: T\nsettings: {train.enabled: false}\nshow: [initial_cam]\nvariants: "


def test_classes_that_the_data_set_lacks_are_left_out_with_a_line(ablation):
    grid, _, runs = ablation(GRID)
    shown = with_known_figures(grid, runs[0].config)
    assert shown.show == ("pseudo_mask", "initial_cam.boat")
    assert left_out_line(grid, runs[0].config) == "the data set has no train; these columns are left out"
    assert left_out_line(shown, runs[0].config) is None


def test_a_grid_may_vary_the_vocabulary_and_shows_the_classes_of_each(ablation):
    words = "{few: {dataset.classes: [boat, train]}, more: {dataset.classes: [boat, car, tree]}}"
    figures = "initial_cam.boat, initial_cam.train, initial_cam.car, initial_cam.bird"
    grid, _, runs = ablation(PLAIN.replace("[initial_cam]", f"[{figures}]") + words, "prompts.background=false")
    configs = [run.config for run in runs]
    assert [config.dataset.classes for config in configs] == [("boat", "train"), ("boat", "car", "tree")]
    assert with_known_figures(grid, *configs).show == ("initial_cam.boat", "initial_cam.train", "initial_cam.car")
    assert left_out_line(grid, *configs) == "the data set has no bird; these columns are left out"
    with pytest.raises(ConfigError, match=r"^grid my grid: A: dataset\.classes.*\{'name': 'car'\}"):
        ablation(PLAIN + "{A: {dataset.classes: [{name: car}]}}")


def test_a_figure_that_is_left_out_does_not_decide_how_far_the_runs_go(ablation):
    grid, _, runs = ablation("title: T\nvariants: {A: {}}\nshow: [initial_cam, segmenter.train]")
    assert grid.last_stage == "segmenter_scores"
    assert with_known_figures(grid, runs[0].config).last_stage == "mask_scores"


def test_a_grid_whose_figures_are_all_of_other_classes_is_refused(ablation):
    grid, _, runs = ablation(PLAIN.replace("initial_cam", "initial_cam.baot, pseudo_mask.train") + "{A: {}}")
    with pytest.raises(
        ConfigError,
        match=r"^grid my grid: show: the data set has no baot \(did you mean boat\?\), train; show a figure",
    ):
        with_known_figures(grid, runs[0].config)
