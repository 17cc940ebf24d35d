"""Commands and workers that are killed in the middle of a shard: the next attempt keeps the finished rows."""

import shutil
import time

import pytest
from support.commands import settings
from support.disturbed_runs import artifacts, run_file
from support.voc_scenes import write_split, write_voc_scenes

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_files import RunFiles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHOTOS = 20
TIME_LIMIT_S = 20  # a part is written after a second


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, configs, seeded_weights):
    """Return the arguments of a run with one shard, whose CRF takes most of a second per photo."""
    root, image_ids = tmp_path_factory.mktemp("large"), tuple(f"scene_{number:02}" for number in range(PHOTOS))
    write_voc_scenes(root, image_ids, scale=4)
    write_split(root, "large", image_ids)
    return (
        *("run", str(configs / "voc12.yaml")),
        *settings(f"dataset.root={root}", "dataset.split=large", f"clip.pretrained={seeded_weights}"),
        *settings("crf.iter_max=100", "crf.bi_xy_std=2", "crf.device=cpu"),
        *settings("execution.shards=1", "train.enabled=false"),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, clipes_in, arguments):
    """Return the store of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = clipes_in(folder)(*arguments, "--store", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def store(tmp_path, undisturbed):
    """Return a copy of that store without masks."""
    folder = tmp_path / "store"
    shutil.copytree(undisturbed, folder)
    shutil.rmtree(folder / "artifacts" / "masks")
    return folder


def parts(store):
    return {path for path in artifacts(store) if ".part-" in path}


def rows(store):
    """Return path below the store -> rows of the artifact, in the order of their ids."""
    reader = ArtifactStore(str(store))
    return {path: reader.read(f"{store}/{path}").sort_by("image_id").to_pylist() for path in artifacts(store)}


def test_a_killed_run_computes_only_the_rows_that_are_left(clipes, arguments, store, undisturbed):
    limited = (*arguments, "--store", str(store), *settings(f"execution.shard_timeout_s={TIME_LIMIT_S}"))
    process = clipes.start(*limited)
    while len(parts(store)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    reader = ArtifactStore(str(store))
    kept = sum(reader.footer(f"{store}/{path}").rows for path in parts(store))
    assert 0 < kept < PHOTOS

    again = clipes(*arguments, "--store", str(store), timeout=500)  # the limit could stop a worker again

    assert again.returncode == 0, again.stderr
    counts = run_file(store, "metrics.json")["stages"]["masks"]
    assert (counts["copied_rows"], counts["computed_rows"]) == (kept, PHOTOS - kept)
    assert rows(store) == rows(undisturbed)


def test_a_shard_that_takes_longer_than_its_time_limit_is_made_in_one_attempt(clipes, arguments, store, undisturbed):
    (seconds,) = (
        row["seconds"] for row in RunFiles(str(undisturbed), "voc12").read_status() if row["stage"] == "masks"
    )
    done = clipes(
        *(*arguments, "--store", str(store)),
        *settings(f"execution.shard_timeout_s={seconds / 3}", "execution.retries=0"),
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    # The number of stops depends on the speed of this run. test_killed_shards.py has a stage whose speed is known.
    assert f"masks shard 0: stopped after {seconds / 3:g} s: raise execution.shard_timeout_s" in done.stderr
    assert rows(store) == rows(undisturbed)


def test_two_runs_that_make_the_same_shard_at_the_same_time_leave_no_part(clipes, arguments, store, undisturbed):
    limited = (*arguments, "--store", str(store), *settings(f"execution.shard_timeout_s={TIME_LIMIT_S}"))
    runs = [clipes.start(*limited, "--name", name) for name in ("one", "two")]
    outputs = [run.communicate(timeout=800) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert parts(store) == set()
    assert rows(store) == rows(undisturbed)
