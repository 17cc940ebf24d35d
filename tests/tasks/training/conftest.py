"""Fixtures for the tests of training: masked photos, caches, and recipes of small configs."""

import pytest
import torch
from mmengine.registry import init_default_scope
from support.masked_photos import MaskedPhotos, confidence_of, ids_of, mask_row, noise
from support.small_recipes import PARTS, recipe_of
from support.small_runs import TINY_NETWORK
from support.threads import single_thread  # noqa: F401 - a fixture that all tests use

from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.training.data.cached_files import CachedFiles


@pytest.fixture(scope="module")
def mmseg_scope():
    """Look up transforms in MMSegmentation's registries, as its runner does."""
    init_default_scope("mmseg")


@pytest.fixture
def masked(tmp_path):
    """Return an empty local folder for masked photos."""
    return MaskedPhotos(str(tmp_path / "data"))


@pytest.fixture
def seven(masked):
    """Return seven masked photos in two shards."""
    for number in range(7):
        masked.add(f"p{number}", shard=number % 2)
    return masked


@pytest.fixture
def files(tmp_path):
    """Return a cache that is large enough for all files."""
    return CachedFiles(tmp_path / "cache", 1)


@pytest.fixture
def run_with_masks(prepared, masked):
    """Return a recorded run of two photos of 64 x 48 px, with the masks in `masked`."""
    run = prepared(dataset={"exif": "apply"})
    masked.uri = run.store.uri.removesuffix("/store")
    for shard, image_id in enumerate(("a", "d")):
        image = noise(shard, (48, 64))
        masked.add(image_id, row=mask_row(image_id, ids_of(image), confidence_of(image)), shard=shard)
    with record_run(run) as record:
        for shard, uri in enumerate(masked.artifacts()):
            record.ledger.started("masks", shard, 1)
            record.ledger.finished(ShardRecord("masks", shard, uri, 1, cached=False), 1)
    return run


@pytest.fixture
def recipe_of_lines(tmp_path):
    """Return a function that reads the recipe of a config made of `PARTS` and the given lines."""

    def recipe_of_lines(lines="", **train):
        path = tmp_path / "own.py"
        path.write_text(PARTS + lines)
        return recipe_of(path, **{"init": "none", **train})

    return recipe_of_lines


@pytest.fixture
def torchvision_home(tmp_path, monkeypatch):
    """Use a torch cache with two empty files; reading a recipe only needs their names."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("resnet18-f37072fd.pth", "resnet34-b627a593.pth"):
        (folder / name).touch()


@pytest.fixture
def tiny_config(tmp_path):
    """Return a function that writes a config of the tiny network with the given lines and returns its path."""

    def tiny_config(lines):
        (tmp_path / "own.py").write_text(f"_base_ = {str(TINY_NETWORK)!r}\n{lines}\n")
        return tmp_path / "own.py"

    return tiny_config
