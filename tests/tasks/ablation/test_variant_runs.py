"""The runs of an ablation: their names and configs, and the refusals before anything runs."""

import re

import pytest
from support.prepared import prepare_run

from clipes.tasks.ablation.plan import plan_runs
from clipes.tasks.ablation.variant_runs import check_needs, other_runs
from clipes.tasks.inputs.configs import load_config
from clipes_core.errors import ConfigError

GRID = """
title: T
settings: {train.enabled: false, cam.power: 1, dataset.count: 4}
axes:
  refinement: {none: {cam.refine: none}, CAA: {}}
  CRF: {no CRF: {crf.enabled: false}}
seeds: {dataset.seed: [3, 4]}
show: [pseudo_mask, initial_cam.boat, initial_cam.train]
"""
PLAIN = "title: T\nsettings: {train.enabled: false}\nshow: [initial_cam]\nvariants: "


def test_each_run_has_a_name_and_the_settings_of_its_variant_and_seed(ablation, configs):
    _, config, runs = ablation(GRID)
    demo = load_config(str(configs / "demo.yaml"))
    assert config.name == "demo-my-grid"
    assert [run.config.name for run in runs] == [
        *(
            "demo-my-grid-none-no-crf-3",
            "demo-my-grid-none-no-crf-4",
            "demo-my-grid-caa-no-crf-3",
            "demo-my-grid-caa-no-crf-4",
        )
    ]
    assert [run.config.cam.refine for run in runs] == ["none", "none", "caa", "caa"]
    assert [run.config.dataset.seed for run in runs] == [3, 4, 3, 4]
    assert {(run.config.cam.power, run.config.crf.enabled, run.config.train.enabled) for run in runs} == {
        (1, False, False)
    }
    assert {run.config.prompts.template for run in runs} == {demo.prompts.template}
    assert len(ablation(GRID, only=("CAA",))[2]) == 2


def test_the_other_runs_are_those_of_variants_that_are_not_chosen_and_can_run(ablation):
    grid, config, runs = ablation(PLAIN + "{A: {}, B: {cam.power: 1}, C: {cam.power: x}}", only=("A",))
    assert [run.config.name for run in runs] == ["demo-my-grid-a"]
    assert [run.config.name for run in other_runs(config, grid, ("A",))] == ["demo-my-grid-b"]


def test_the_ablation_and_its_runs_have_the_same_date_and_time(ablation):
    _, config, (run,) = ablation(PLAIN + "{A: {}}", name="mine-{date}-{time}")
    assert re.fullmatch(r"mine-\d{4}-\d\d-\d\d-\d{6}", config.name)
    assert run.config.name == f"{config.name}-a"


@pytest.mark.parametrize(
    ("key", "first", "second"), [("dataset.seed", "1", "1"), ("prompts.template", "one {}.", "One {}")]
)
def test_two_runs_of_the_same_name_are_refused(key, first, second, ablation):
    with pytest.raises(ConfigError) as caught:
        ablation(f"{PLAIN}{{A: {{}}}}\nseeds: {{{key}: ['{first}', '{second}']}}")
    assert str(caught.value) == (
        f"grid my grid: 'A' {key}={first} and 'A' {key}={second} would both have the name demo-my-grid-a-"
        f"{first.split()[0]}: rename a variant, or change a seed"
    )


@pytest.mark.parametrize("only", [(), ("a",), ("a-1",)])
def test_a_run_may_not_have_the_name_of_one_that_is_left_out(only, ablation):
    """The labels a and "a!" are numbered, so that the first one would get the name of the third."""
    text = f"{PLAIN}{{a: {{cam.power: 2}}, 'a!': {{cam.power: 3}}, a-1: {{cam.power: 1}}}}"
    with pytest.raises(ConfigError, match=r"'a(-1)?' and 'a(-1)?' would both have the name demo-my-grid-a-1:"):
        ablation(text, only=only)


def test_a_name_that_is_too_long_is_refused_instead_of_cut(ablation):
    name = "x" * 190
    assert len(ablation(PLAIN + "{A23456789: {}}", name=name)[2][0].config.name) == 200
    with pytest.raises(
        ConfigError, match=r"^grid my grid: AB3456789 Z: the name of the run has 202 characters, and at"
    ):
        ablation(PLAIN + "{AB3456789 Z: {}}", name=name)


def test_an_override_replaces_the_setting_of_a_grid(ablation):
    _, _, runs = ablation(GRID, "cam.power=0", "dataset.count=6", name="other")
    assert {(run.config.cam.power, run.config.dataset.count) for run in runs} == {(0, 6)}
    assert runs[0].config.name == "other-none-no-crf-3"


def test_an_override_of_what_the_grid_varies_is_refused(ablation):
    with pytest.raises(ConfigError, match=r"--set cam\.refine: the grid my grid itself varies cam\.refine; leave out"):
        ablation(GRID, "cam.refine=mhsa")
    with pytest.raises(ConfigError, match=r"--set dataset\.seed: the grid my grid itself varies dataset\.seed"):
        ablation(GRID, "dataset.seed=1")


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("{A: {cam.refin: none}}", "grid my grid: A: cam.refin: unknown key; did you mean cam.refine?"),
        ("{A: {cam.power: x}}", "grid my grid: A: cam.power: "),
        ("{A: {prompts.names: [boot]}}", "grid my grid: A: prompts.names: boot: the vocabulary has no such class"),
        ("{A: {cam: 3}}", "grid my grid: A: cam: "),
        (
            "{A: {cam: 3, cam.power: 1}}",
            "grid my grid: A: cam.power: cam also has a value; delete one of the two",
        ),
        ("{A: {}}\nseeds: {train.sead: [1]}", "grid my grid: A: train.sead: unknown key; did you mean train.seed?"),
    ],
)
def test_a_variant_with_a_bad_config_is_refused_in_a_line_that_names_it(variants, message, ablation):
    with pytest.raises(ConfigError) as caught:
        ablation(PLAIN + variants)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(message)


def test_bad_settings_of_a_grid_are_refused(ablation):
    with pytest.raises(ConfigError, match=r"^grid my grid: settings: train\.enabld: unknown key; did you mean train"):
        ablation(PLAIN.replace("enabled", "enabld") + "{A: {}}")


def test_a_figure_of_a_stage_that_the_config_leaves_out_is_refused(ablation):
    with pytest.raises(
        ConfigError, match=r"A: segmenter: the config leaves out the stage segmenter; set train\.enabled"
    ):
        ablation(PLAIN.replace("initial_cam", "segmenter") + "{A: {}}")


def test_a_grid_may_need_certain_data(ablation):
    grid, config, _ = ablation(PLAIN + "{A: {}}\nneeds: {dataset.classes: [voc12, coco14]}")
    with pytest.raises(ConfigError, match=r"needs dataset\.classes=voc12 or coco14, but the config has scenes: choose"):
        check_needs(config, grid)
    check_needs(config, ablation(PLAIN + "{A: {}}\nneeds: {dataset: {classes: scenes}}")[0])


def test_a_plan_counts_an_artifact_of_several_runs_once(ablation):
    text = PLAIN + "{A: {crf.enabled: false}, B: {}, C: {cam.power: 1}}\nseeds: {dataset.seed: [3, 4]}"
    _, _, runs = ablation(text, "dataset.count=3", "execution.shards=1")
    plans = plan_runs(runs, lambda run: prepare_run(run.config, "masks"))
    counts = {
        plan.name.removeprefix("demo-my-grid-"): {
            line.stage: (line.computed_rows, line.shared_rows) for line in plan.stages
        }
        for plan in plans
    }
    assert counts["a-3"] == {"texts": (20, 0), "cams": (3, 0), "masks": (3, 0)}
    assert counts["a-4"] == {"texts": (0, 20), "cams": (3, 0), "masks": (3, 0)}  # other scenes
    assert counts["b-3"] == counts["b-4"] == {"texts": (0, 20), "cams": (0, 3), "masks": (3, 0)}
    assert counts["c-3"] == {"texts": (0, 20), "cams": (3, 0), "masks": (3, 0)}


def test_a_run_without_weights_does_not_stop_the_plan_of_the_others(ablation):
    text = PLAIN + "{A: {clip.pretrained: ./none.pt}, B: {}}"
    _, _, runs = ablation(text, "dataset.count=3", "execution.shards=1")
    without, other = plan_runs(runs, lambda run: prepare_run(run.config, "texts"))
    assert "none.pt" in (without.problem or "")
    assert without.stages == ()
    assert [line.computed_rows for line in other.stages] == [20]
