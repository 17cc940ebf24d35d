"""The grids that ship with clipes: each can be read, and its variants are valid settings of the demo and of VOC."""

import pytest

from clipes.tasks.ablation.grid_file import GRIDS, load_grid
from clipes.tasks.ablation.settings import nested_settings
from clipes.tasks.ablation.tables.columns import column_of
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.paper.published import published_numbers

NAMES = sorted(path.stem for path in GRIDS.glob("*.yaml"))
TABLES = ("table1", "table2", "table3", "table6", "table7", "table8", "templates")
APPENDIX = ("pooling", "fusion", "lambda", "power", "attention_blocks", "backbones")


def test_there_is_a_grid_for_each_table_and_for_the_appendix():
    assert {*TABLES, *APPENDIX} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config", ["demo", "voc12"])
def test_all_variants_are_valid_settings_and_differ(name, config, configs, tmp_path):
    grid, root = load_grid(name), {"dataset.root": str(tmp_path)}
    found = []
    for variant in grid.all_variants:
        for seed in grid.all_seeds:
            settings = {**root, **grid.settings, **variant.settings, **seed}
            found.append(load_config(str(configs / f"{config}.yaml"), (), nested_settings(settings)))
    assert len({one.model_dump_json() for one in found}) == len(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_grid_has_a_title_and_columns_with_titles(name):
    grid = load_grid(name)
    assert grid.title
    assert all(column_of(figure).title for figure in grid.show)


@pytest.mark.parametrize("name", [*TABLES, *APPENDIX])
def test_a_grid_of_the_paper_says_what_it_mirrors(name):
    text, grid = (GRIDS / f"{name}.yaml").read_text(), load_grid(name)
    assert text.startswith("# ")
    assert "CLIP-ES" in text.splitlines()[0]
    if name.startswith("table"):
        assert name[5:] in grid.title
    if name in APPENDIX:
        assert "clipes does not have the appendix's numbers" in grid.paper


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_of_the_same_figure_and_of_the_same_settings(name):
    grid, numbers = load_grid(name), published_numbers()
    variants = {variant.label: variant for variant in grid.all_variants}
    for label, ids in grid.published.items():
        for figure, number_id in ids.items():
            number = numbers[number_id]
            assert (number.figure, number.unit) == (figure, "%")
            stated, own = dict(number.settings or {}), {**grid.settings, **variants[label].settings}
            stated.pop("crf.image", None)  # the comments of the grids say to add it for the paper's numbers
            if stated.pop("dataset.classes", None):  # a list of names has the same effect
                assert own["prompts.names"] is True
            assert all(own.get(key) == value for key, value in stated.items()), label
