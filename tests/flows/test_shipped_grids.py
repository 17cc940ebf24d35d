"""Each grid that ships with clipes, run on a few scenes of the demo, with one store for all of them."""

import csv
import json

import pytest
from support.commands import settings

from clipes.tasks.ablation.files import TABLE_CSV, TABLE_MARKDOWN
from clipes.tasks.ablation.grid import chosen_variants, slug
from clipes.tasks.ablation.grid_file import GRIDS, load_grid

NEEDS_VOC = ("backbones",)
NAMES = sorted(path.stem for path in GRIDS.glob("*.yaml") if path.stem not in NEEDS_VOC)
SCENES = 4
TEXTS = 20  # of the vocabulary of the scenes
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
WITHOUT_NUMBER = {"table1": {("no refinement", "refined_cam")}}  # grid -> variant and figure


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
    without = {(row["variant"], row["figure"]) for row in rows if not row["mean"]}
    assert without == WITHOUT_NUMBER.get(name, set())
    assert all(int(row["runs"]) == len(grid.all_seeds) for row in rows if row["mean"])
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


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS_VOC)
def test_a_grid_that_needs_real_photos_and_weights_is_planned_without_them(without_weights, configs, name):
    done = without_weights("ablate", str(configs / "demo.yaml"), "--grid", name, "--plan", *TINY)
    assert done.returncode == 0, done.stderr
    variants = load_grid(name).all_variants
    header, *rows = [line.split() for line in done.stdout.splitlines()][: 2 + len(variants)]
    counts = [str(TEXTS), str(SCENES), str(SCENES), str(SCENES)]
    assert header == ["run", "texts", "cams", "masks", "mask_scores"]
    assert rows[:-1] == [[f"demo-{name}-{slug(each.label)}", *counts] for each in variants]
    assert rows[-1] == ["computed", "in", "all", *(str(int(count) * len(variants)) for count in counts)]
    (line,) = [line for line in done.stdout.splitlines() if "not on this machine" in line]
    assert all(f"{each.settings['clip.pretrained']} of {each.settings['clip.model']}" in line for each in variants)
    assert "cannot be planned" not in done.stdout
