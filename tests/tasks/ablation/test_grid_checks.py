"""The one-line refusals of broken grids."""

import pytest

from clipes_core.errors import ConfigError

PLAIN = {"title": "T", "variants": "{A: {cam.power: 1}, B: {}}", "show": "[initial_cam]"}


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
    "equal labels": (
        {"variants": "{}", "axes": "{a: {x: {}, 'x, y': {}}, b: {z: {cam.power: 1}, 'y, z': {cam.power: 2}}}"},
        "'x, y, z' is the label of 2 variants; rename one",
    ),
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
def test_a_broken_grid_is_refused_in_a_line_that_names_the_file(case, grid_of, tmp_path):
    changes, message = BROKEN[case]
    text = "\n".join(f"{key}: {value}" for key, value in {**PLAIN, **changes}.items())
    with pytest.raises(ConfigError) as caught:
        grid_of(text)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/mine.yaml: ")
    assert message in line


def test_two_axes_must_not_decide_the_same_setting(grid_of):
    axes = "{a: {one: {cam.power: 1}}, b: {two: {cam.power: 2}}}"
    with pytest.raises(ConfigError, match=r"axes\.b: axes\.a also sets cam\.power; delete one of the two"):
        grid_of(f"title: T\naxes: {axes}\nshow: [initial_cam]")
