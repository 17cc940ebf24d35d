"""Grids: their variants, and the one-line refusals of broken ones."""

import pytest

from clipes.tasks.ablation.grid import chosen_variants, load_grid, slug
from clipes_core.errors import ConfigError

REFINEMENT = """
title: Refinement
about: >
  MHSA and CAA,
  with and without a CRF
settings: {train.enabled: false}
axes:
  refinement: {none: {cam.refine: none}, MHSA: {cam: {refine: mhsa, power: 1}}}
  CRF: {without CRF: {crf.enabled: false}, CRF: }
seeds: {train.seed: [0, 1], dataset.seed: [5, 6]}
reference: MHSA, CRF
show: [refined_cam, pseudo_mask.boat, cams.seconds]
"""
PLAIN = {"title": "T", "variants": "{A: {cam.power: 1}, B: {}}", "show": "[initial_cam]"}


def grid_of(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return load_grid(str(file))


def test_the_variants_are_the_product_of_the_axes(tmp_path):
    grid = grid_of(tmp_path, REFINEMENT)
    found = {variant.label: variant.settings for variant in grid.all_variants}
    assert list(found) == ["none, without CRF", "none, CRF", "MHSA, without CRF", "MHSA, CRF"]
    assert found["MHSA, without CRF"] == {"cam.refine": "mhsa", "cam.power": 1, "crf.enabled": False}
    assert grid.all_variants[0].labels == {"refinement": "none", "CRF": "without CRF"}
    assert grid.name == "mine"
    assert grid.about == "MHSA and CAA, with and without a CRF"
    assert grid.last_stage == "mask_scores"
    assert grid.reference_label == "MHSA, CRF"
    assert grid.all_seeds == ({"train.seed": 0, "dataset.seed": 5}, {"train.seed": 1, "dataset.seed": 6})


def test_a_label_of_an_axis_chooses_all_variants_with_it(tmp_path):
    grid = grid_of(tmp_path, REFINEMENT)
    assert [each.label for each in chosen_variants(grid, ("MHSA",))] == ["MHSA, without CRF", "MHSA, CRF"]
    assert [each.label for each in chosen_variants(grid, ("none, CRF",))] == ["none, CRF"]
    assert len(chosen_variants(grid, ())) == 4
    with pytest.raises(ConfigError, match="--only MHSE: the grid mine has no such label; did you mean MHSA"):
        chosen_variants(grid, ("MHSE",))


BROKEN = {
    "unknown key": ({"axis": "{}"}, "axis: unknown key; did you mean axes?"),
    "no variants": ({"variants": "{}"}, "state either axes or variants"),
    "both": ({"axes": "{a: {b: {cam.power: 1}}}"}, "state either axes or variants"),
    "empty axis": ({"variants": "{}", "axes": "{a: }"}, "axes.a: the axis is empty; add a label"),
    "no settings": ({"variants": "{A: 3}"}, "variants.A: expected settings, such as"),
    "no labels": ({"variants": "[A]"}, "variants: expected labels and settings"),
    "label is a truth value": ({"variants": "{yes: {}}"}, "YAML reads a label as True; put it in quotes"),
    "label twice": ({"variants": "{A: {}, A: {}}"}, "the key 'A' occurs twice"),
    "setting twice": ({"settings": "{cam.power: 1, cam: {power: 2}}"}, "settings: the setting cam.power occurs twice"),
    "unknown figure": ({"show": "[initial_cams]"}, "show: initial_cams: unknown figure; did you mean initial_cam?"),
    "unknown cost": ({"show": "[masks.hours]"}, "show: masks.hours: unknown figure"),
    "figures are no list": ({"show": "initial_cam"}, "show: expected a list, such as [initial_cam, pseudo_mask]"),
    "a date": (
        {"variants": "{A: {prompts.template: 2020-01-01}}"},
        "prompts.template: YAML reads a value as datetime.date(",
    ),
    "a date in a list": ({"variants": "{A: {prompts.template: [2020-01-01]}}"}, "; put text in quotes"),
    "key is no text": ({"variants": "{A: {3: 4}}"}, "variants.A: '3' is not a setting; write settings such as"),
    "figure twice": ({"show": "[initial_cam, initial_cam]"}, "show: initial_cam: the figure occurs 2 times; keep one"),
    "unknown need": (
        {"needs": "{dataset.clases: voc12}"},
        "needs: dataset.clases: unknown key; did you mean dataset.classes?",
    ),
    "need of a section": ({"needs": "{dataset: voc12}"}, "needs: dataset: unknown key"),
    "other name": ({"settings": "{name: x}"}, "settings: name is the same for all runs; use the option --name"),
    "other store": (
        {"variants": "{A: {store: x}}"},
        "variants.A: store is the same for all runs; use the option --store",
    ),
    "empty label": ({"variants": "{' ': {}}"}, "variants: ' ' is not a label; use printable characters"),
    "too many runs": (
        {"seeds": f"{{train.seed: {list(range(501))}}}"},
        "the grid has 1,002 runs, and at most 1,000 are",
    ),
    "no figure": ({"show": "[]"}, "show: "),
    "ends too early": ({"show": "[segmenter]", "until": "masks"}, "the figure needs the stage segmenter_scores"),
    "unknown stage": ({"until": "mask"}, "until: mask: no such stage; did you mean masks?"),
    "unknown reference": ({"reference": "C"}, "reference: C: the grid has no such variant; there are: A, B"),
    "published of nothing": ({"published": "{C: {}}"}, "published: C: the grid has no such variant"),
    "published but not shown": ({"published": "{A: {segmenter: x}}"}, "published.A: segmenter: the grid does not show"),
    "unknown number": (
        {"published": "{A: {initial_cam: voc_train_initia}}"},
        "published.A.initial_cam: no published number has the id 'voc_train_initia' in published.yaml; did you mean",
    ),
    "number of another figure": (
        {"published": "{A: {initial_cam: voc_train_caa}}"},
        "published.A.initial_cam: voc_train_caa is a number of refined_cam; name a number of initial_cam",
    ),
    "seeds and axis": ({"seeds": "{cam.power: [1]}"}, "seeds: variants also sets cam.power"),
    "uneven seeds": ({"seeds": "{train.seed: [1], dataset.seed: [1, 2]}"}, "seeds: each key needs the same number"),
    "no seeds": ({"seeds": "{train.seed: []}"}, "seeds: each key needs the same number of values, and at least one"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_grid_is_refused_in_a_line_that_names_the_file(case, tmp_path):
    changes, message = BROKEN[case]
    text = "\n".join(f"{key}: {value}" for key, value in {**PLAIN, **changes}.items())
    with pytest.raises(ConfigError) as caught:
        grid_of(tmp_path, text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/mine.yaml: ")
    assert message in line


def test_two_axes_must_not_decide_the_same_setting(tmp_path):
    axes = "{a: {one: {cam.power: 1}}, b: {two: {cam.power: 2}}}"
    with pytest.raises(ConfigError, match=r"axes\.b: axes\.a also sets cam\.power; delete one of the two"):
        grid_of(tmp_path, f"title: T\naxes: {axes}\nshow: [initial_cam]")


@pytest.mark.parametrize(
    ("text", "message"), [("- 1", "expected keys such as title"), ("a: [", "cannot be read as YAML")]
)
def test_a_file_that_is_no_mapping_is_refused(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        grid_of(tmp_path, text)


def test_a_grid_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--grid .*none\.yaml: there is no such grid; name a YAML file, or a grid"):
        load_grid(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="--grid nothing: there is no such grid"):
        load_grid("nothing")


def test_a_label_becomes_part_of_the_name_of_a_run():
    assert slug("MHSA, single-scale + CRF") == "mhsa-single-scale-crf"
    assert slug("λ = 0.4") == "0.4"
    assert slug("Größe") == "grosse"
    assert slug("λ") == "variant"


def test_variants_whose_labels_give_the_same_part_of_a_name_are_numbered(tmp_path):
    variants = "{单尺度: {}, CAA: {cam.power: 1}, 多尺度: {cam.power: 3}, c a a: {cam.power: 4}, C-A-A: {cam.power: 5}}"
    grid = grid_of(tmp_path, f"title: T\nvariants: {variants}\nshow: [initial_cam]")
    assert list(grid.slugs.values()) == ["variant-1", "caa", "variant-3", "c-a-a-4", "c-a-a-5"]


def test_a_label_that_yaml_reads_as_a_number_stays_as_it_is_written(tmp_path):
    axes = "{t: {010: {cam.power: 1}, 0.10: {cam.power: 2}, 1e1: {cam.power: 3}, 1:30: {cam.power: 4}, 8: {}}}"
    grid = grid_of(tmp_path, f"title: T\naxes: {axes}\nshow: [initial_cam]\nreference: '010'")
    assert [variant.label for variant in grid.all_variants] == ["010", "0.10", "1e1", "1:30", "8"]
    assert [variant.settings.get("cam.power") for variant in grid.all_variants] == [1, 2, 3, 4, None]
