"""Trainings that are stopped or killed as a user's whole command is: the curve is that of an undisturbed one."""

import json
import os
import shutil
import signal
import time

import psutil
import pytest
import yaml
from support.process_watch import gone_within, started_in
from support.small_runs import TINY_NETWORK, TinyPhotos
from support.small_trainings import SmallTraining

from clipes.tasks.storage.artifact_store import ArtifactStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUNAWAY = TINY_NETWORK.with_name("runaway.py")


@pytest.fixture
def clipes(clipes_process):
    """The command as a process of its own."""
    return clipes_process


@pytest.fixture(scope="module")
def small(tmp_path_factory, large_scene, seeded_weights):
    return SmallTraining(TinyPhotos(tmp_path_factory.mktemp("data"), large_scene, seeded_weights))


@pytest.fixture(scope="module")
def command(small):
    """`clipes run` with the training's settings."""
    values = small.prepared().config.model_dump(mode="json")
    values["execution"].update(gpu_workers=1, cpu_workers=1)
    path = small.photos.folder / "training.yaml"
    path.write_text(yaml.safe_dump(values))
    return ("run", str(path))


@pytest.fixture(scope="module")
def undisturbed(small, command, clipes_in, tmp_path_factory):
    """The curve of a training that nothing happened to."""
    done = clipes_in(tmp_path_factory.mktemp("undisturbed"))(*command)
    assert done.returncode == 0, done.stderr
    curve, facts = trained(small.photos.folder / "store")
    assert facts["resumed_at"] == 0
    return curve


@pytest.fixture
def store(small, undisturbed):
    """Where the masks are, and no segmenter."""
    folder = small.photos.folder / "store"
    shutil.rmtree(folder / "artifacts" / "segmenter")
    return folder


@pytest.fixture
def alone(clipes):
    """The command without a server that is named; what it starts is known by its PREFECT_HOME."""
    home = clipes.folder / "prefect"
    return type(clipes)(clipes.folder, {**clipes.environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(home)})


def standing(clipes, command, store):
    """Start a run, and return it when the checkpoint of step 20 is there; its training stands still at step 21."""
    process = clipes.start(*command)
    while not list(store.glob("artifacts/segmenter/*/*.checkpoints/00000020.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def trained(store):
    """The curve, and what metrics.json says of the training."""
    (artifact,) = store.glob("artifacts/segmenter/*/*.parquet")
    metrics = json.loads((store / "runs" / "tiny" / "metrics.json").read_text())
    return ArtifactStore(str(store)).read(str(artifact)).to_pylist(), metrics["training"]


@pytest.mark.parametrize("sent", ["ctrl-c", "kill"])
def test_a_command_that_ends_in_its_training_is_gone_on_with(small, alone, command, store, undisturbed, sent):
    home = alone.folder / "prefect"
    with small.blocked():
        process = standing(alone, command, store)
        if sent == "kill":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the job
        _, error = process.communicate(timeout=60)
        assert gone_within(10, started_in(home))
    if sent == "ctrl-c":
        assert process.returncode == 130, error
        assert "interrupted; finished work is kept" in error
        assert "Traceback" not in error

    again = alone(*command)

    assert again.returncode == 0, again.stderr
    curve, facts = trained(store)
    assert facts["resumed_at"] == 20
    assert curve == undisturbed
    assert gone_within(10, started_in(home))


def test_a_training_process_that_is_killed_costs_one_attempt(small, alone, command, store, undisturbed):
    with small.blocked():
        process = standing(alone, command, store)
        started = psutil.Process(process.pid).children()
        workers = [child for child in started if "spawn_main" in " ".join(child.cmdline())]
        youngest = max(workers, key=lambda worker: worker.create_time())
        youngest.kill()  # the next one takes seconds to begin, and finds the truth there
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    curve, facts = trained(store)
    assert facts["resumed_at"] == 20
    assert curve == undisturbed


def test_a_loss_that_is_no_number_ends_the_command_with_step_and_causes(command, clipes):
    done = clipes(*command, "--name", "runaway", "--set", f"train.mmseg_config={RUNAWAY}")
    assert done.returncode == 1, done.stderr
    assert "at iteration" in done.stderr
    assert "learning rate" in done.stderr
    assert "Traceback" not in done.stderr
