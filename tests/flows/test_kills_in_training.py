"""Commands that are stopped or killed while they train: the resumed training has the curve of an uninterrupted one."""

import json
import os
import shutil
import signal
import time

import psutil
import pytest
import yaml
from support.process_watch import all_end_within, processes_of_home
from support.small_runs import TINY_NETWORK, TinyPhotos
from support.small_trainings import SmallTraining

from clipes.tasks.storage.artifact_store import ArtifactStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUNAWAY = TINY_NETWORK.with_name("runaway.py")


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


@pytest.fixture(scope="module")
def small(tmp_path_factory, large_scene, seeded_weights):
    return SmallTraining(TinyPhotos(tmp_path_factory.mktemp("data"), large_scene, seeded_weights))


@pytest.fixture(scope="module")
def command(small):
    """Write the config of the training, and return the arguments that run it."""
    values = small.prepared().config.model_dump(mode="json")
    values["execution"].update(gpu_workers=1, cpu_workers=1)
    path = small.photos.folder / "training.yaml"
    path.write_text(yaml.safe_dump(values))
    return ("run", str(path))


@pytest.fixture(scope="module")
def uninterrupted_curve(small, command, clipes_in, tmp_path_factory):
    """Return the curve of an uninterrupted training."""
    done = clipes_in(tmp_path_factory.mktemp("uninterrupted"))(*command)
    assert done.returncode == 0, done.stderr
    curve, facts = read_training(small.photos.folder / "store")
    assert facts["resumed_at"] == 0
    return curve


@pytest.fixture
def store(small, uninterrupted_curve):
    """Return the store with the pseudo masks but without the segmenter."""
    folder = small.photos.folder / "store"
    shutil.rmtree(folder / "artifacts" / "segmenter")
    return folder


@pytest.fixture
def clipes_with_own_server(clipes):
    """Return the command without PREFECT_API_URL, so that it starts a server; PREFECT_HOME marks its processes."""
    home = clipes.folder / "prefect"
    return type(clipes)(clipes.folder, {**clipes.environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(home)})


def start_and_wait_for_checkpoint(clipes, command, store):
    """Start a run, and return its process once the checkpoint of iteration 20 exists.

    Its training must be blocked at iteration 21.
    """
    process = clipes.start(*command)
    while not list(store.glob("artifacts/segmenter/*/*.checkpoints/00000020.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def read_training(store):
    """Return the curve and the entry `training` of metrics.json."""
    (artifact,) = store.glob("artifacts/segmenter/*/*.parquet")
    metrics = json.loads((store / "runs" / "tiny" / "metrics.json").read_text())
    return ArtifactStore(str(store)).read(str(artifact)).to_pylist(), metrics["training"]


@pytest.mark.parametrize("sent", ["ctrl-c", "kill"])
def test_a_command_stopped_or_killed_in_training_resumes(
    small, clipes_with_own_server, command, store, uninterrupted_curve, sent
):
    home = clipes_with_own_server.folder / "prefect"
    with small.blocked():
        process = start_and_wait_for_checkpoint(clipes_with_own_server, command, store)
        if sent == "kill":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGINT)  # a terminal sends SIGINT to all processes of the job
        _, error = process.communicate(timeout=60)
        assert all_end_within(10, processes_of_home(home))
    if sent == "ctrl-c":
        assert process.returncode == 130, error
        assert "interrupted; finished work is kept" in error
        assert "Traceback" not in error

    again = clipes_with_own_server(*command)

    assert again.returncode == 0, again.stderr
    curve, facts = read_training(store)
    assert facts["resumed_at"] == 20
    assert curve == uninterrupted_curve
    assert all_end_within(10, processes_of_home(home))


def test_a_killed_training_process_costs_one_attempt(
    small, clipes_with_own_server, command, store, uninterrupted_curve
):
    with small.blocked():
        process = start_and_wait_for_checkpoint(clipes_with_own_server, command, store)
        started = psutil.Process(process.pid).children()
        workers = [child for child in started if "spawn_main" in " ".join(child.cmdline())]
        youngest = max(workers, key=lambda worker: worker.create_time())
        youngest.kill()  # its replacement starts seconds later, when validation is no longer blocked
    _, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    curve, facts = read_training(store)
    assert facts["resumed_at"] == 20
    assert curve == uninterrupted_curve


def test_a_diverging_loss_ends_the_command_with_iteration_and_causes(command, clipes):
    done = clipes(*command, "--name", "runaway", "--set", f"train.mmseg_config={RUNAWAY}")
    assert done.returncode == 1, done.stderr
    assert "at iteration" in done.stderr
    assert "learning rate" in done.stderr
    assert "Traceback" not in done.stderr
