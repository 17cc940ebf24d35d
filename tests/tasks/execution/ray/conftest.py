"""Runs of a few photos in eight shards, and what the local runner makes of them."""

import pytest
from support.prepared import prepare_run
from support.ray_runs import PHOTOS, RAY, SHARDS, artifacts_of, make_in_parallel
from support.small_runs import TinyPhotos

from clipes.tasks.execution.runner import runner_for


@pytest.fixture(scope="session")
def photos(tmp_path_factory, large_scene, seeded_weights):
    """Return a data set of tiny photos."""
    data = TinyPhotos(tmp_path_factory.mktemp("photos"), large_scene, seeded_weights)
    for number in range(PHOTOS):
        data.add(f"photo{number}", ("cat", "dog", "cat;dog")[number % 3])
    return data


@pytest.fixture
def run_on(photos, tmp_path):
    """Return a function that prepares a run with a runner in a new store."""

    def run_on(store=None, runner=RAY, until="masks", **execution):
        config = photos.config(
            store=str(store or tmp_path / "store"), execution={"shards": SHARDS, "runner": runner, **execution}
        )
        return prepare_run(config, until)

    return run_on


@pytest.fixture(scope="session")
def expected(photos, tmp_path_factory):
    """Return name of an artifact -> its rows, as the local runner makes them."""
    store = str(tmp_path_factory.mktemp("local"))
    run = prepare_run(photos.config(store=store, execution={"shards": SHARDS, "cpu_workers": 1}), "masks")
    with runner_for(run.config) as runner:
        found = artifacts_of(run, make_in_parallel(runner, run))
    assert len(found) >= SHARDS
    return found
