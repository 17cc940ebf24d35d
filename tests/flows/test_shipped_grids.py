"""Each grid that ships with clipes, run on a few scenes of the demo, with one store for all of them."""

import csv
import json

import pytest
from support.commands import settings

from clipes.tasks.ablation.files import TABLE_CSV, TABLE_MARKDOWN
from clipes.tasks.ablation.grid import GRIDS, chosen_variants, load_grid

NEEDS_VOC = ("backbones",)
NAMES = sorted(path.stem for path in GRIDS.glob("*.yaml") if path.stem not in NEEDS_VOC)
SCENES = 4
TINY = settings(
    f"dataset.count={SCENES}",
    "evaluation.count=2",
    "evaluation.flip=false",
    "train.iterations=2",
    "train.validate_every=0",
    "execution.shards=1",
    "execution.loader_workers=0",  # processes forked from this one take seconds to end
    "report.gallery=0",
    "report.further=0",
)
ONLY = {  # labels of the variants that run, to save time: the others differ only in a number or in a template
    "table7": ("without CRF",),
    "templates": ("a clean origami", "ensemble of 7"),
    "lambda": ("0.2", "0.8"),
    "power": ("1", "4"),
    "attention_blocks": ("1", "12"),
}


@pytest.fixture(scope="module")
def ablate(tmp_path_factory, clipes_in, configs):
    """Return a function that runs a grid in the store of this module, and the folder of that store's runs."""
    folder = tmp_path_factory.mktemp("grids")
    clipes = clipes_in(folder)
    config = str(configs / "demo.yaml")

    def ablate(name):
        only = (word for label in ONLY.get(name, ()) for word in ("--only", label))
        return clipes("ablate", config, "--grid", name, "--store", str(folder), *TINY, *only)

    return ablate, folder / "runs"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_grid_runs_on_the_demo(ablate, name):
    run, runs = ablate
    done = run(name)
    assert done.returncode == 0, done.stderr
    folder = runs / f"demo-{name.replace('_', '-')}"
    with (folder / TABLE_CSV).open() as file:
        rows = list(csv.DictReader(file))
    grid = load_grid(name)
    assert {row["variant"] for row in rows} == {each.label for each in chosen_variants(grid, ONLY.get(name, ()))}
    assert all(row["mean"] and int(row["runs"]) == len(grid.all_seeds) for row in rows)
    assert grid.title in done.stdout
    assert grid.title in (folder / TABLE_MARKDOWN).read_text()
    for variant in json.loads((folder / "ablation.json").read_text())["variants"]:
        for each in variant["runs"]:
            own = json.loads((runs / each["name"] / "run.json").read_text())
            assert (own["state"], own["photos"]) == ("completed", SCENES)
            assert (runs / each["name"] / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS_VOC)
def test_a_grid_that_needs_real_photos_is_refused_in_one_line(ablate, name):
    done = ablate[0](name)
    assert done.returncode == 2
    assert f"the grid {name} needs dataset.classes=voc12 or coco14, but the config has scenes" in done.stderr
    assert "--plan" in done.stderr
