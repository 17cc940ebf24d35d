"""The clipes command on a Ray cluster: refused addresses, and a command that is killed."""

import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from support.commands import ClipesProcess
from support.process_watch import all_end_within
from support.ray_clusters import ray_cluster, worker_processes
from support.ray_runs import RAY, SHARDS, artifact_uris

from clipes.tasks.storage.artifact_store import ArtifactStore

SIGNALLING = Path(__file__).parents[3] / "support" / "signal_while_connecting.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path, server_environment):
    """Return the command clipes as a separate process."""
    return ClipesProcess(tmp_path, server_environment)


def rows_of(store):
    """Return name of an artifact of cams and masks -> its rows."""
    read = ArtifactStore(store).read_rows
    parts = {uri: uri.split("/") for uri in artifact_uris(store, "cams", "masks")}
    return {f"{each[-3]}/{each[-1]}": list(read(uri)) for uri, each in parts.items()}


def test_a_killed_command_leaves_no_worker_and_is_resumed(command, photos, expected, tmp_path, s3_folder):
    """The store is on an S3 server."""
    store = f"{s3_folder}/store"
    config = photos.config(store=store, execution={"shards": SHARDS, "runner": RAY}).model_dump(mode="json")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with ray_cluster({"node_name": "second"}) as cluster:
        process = command.start("run", "run.yaml", "--until", "masks")
        while not artifact_uris(store, "cams"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        workers, family = worker_processes(cluster), psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert workers
        assert all_end_within(10, [*workers, *family])

        again = command("run", "run.yaml", "--until", "masks", timeout=120)
        workers = worker_processes(cluster)
        assert again.returncode == 0, again.stderr
        assert all_end_within(10, workers)
    assert rows_of(store) == expected


def test_ctrl_c_ends_the_workers(command, photos, tmp_path):
    config = photos.config(store=str(tmp_path / "store"), execution={"shards": SHARDS, "runner": RAY})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    with ray_cluster() as cluster:
        process = command.start("run", "run.yaml", "--until", "masks")
        while not any((tmp_path / "store").rglob("artifacts/*/*/*.parquet")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        workers = worker_processes(cluster)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert all_end_within(10, workers)
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def node():
    """Start a cluster of one node."""
    with ray_cluster():
        yield


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("name", "function"),  # the signal, and the function in which it arrives, in the order of the calls
    [
        ("SIGINT", "canonicalize_bootstrap_address"),
        ("SIGINT", "find_node_ids"),
        ("SIGTERM", "find_node_ids"),
        ("SIGINT", "_serialize"),
        ("SIGTERM", "_serialize"),
        ("SIGINT", "wait_until_started"),
    ],
)
def test_a_signal_while_the_command_connects_interrupts_it(photos, tmp_path, server_environment, name, function):
    """Ray replaces the handler of SIGTERM while it connects."""
    config = photos.config(store=str(tmp_path / "store"), execution={"shards": SHARDS, "runner": RAY})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    program = (sys.executable, str(SIGNALLING), name, function)
    done = ClipesProcess(tmp_path, server_environment, program)("run", "run.yaml", "--plan", timeout=100)
    line = "clipes: interrupted; finished work is kept: run the same command again to resume\n"
    assert (done.returncode, done.stderr) == (130, line)


@pytest.mark.parametrize(
    ("address", "variable", "told"),
    [
        ("ray://127.0.0.1:10001", "", "execution.runner.address: clipes must itself run on a machine of the cluster"),
        ("auto", "ray://127.0.0.1:10001", "RAY_ADDRESS: clipes must itself run on a machine of the cluster"),
        ("127.0.0.1:1", "", "execution.runner.address 127.0.0.1:1: cannot connect to a Ray cluster"),
    ],
)
def test_a_wrong_address_is_reported_in_one_line(command, photos, tmp_path, monkeypatch, address, variable, told):
    monkeypatch.setenv("RAY_ADDRESS", variable)
    runner = {**RAY, "address": address}
    config = photos.config(store=str(tmp_path / "store"))
    values = config.model_dump(mode="json")
    values["execution"]["runner"] = runner
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))

    done = command("run", "run.yaml", "--until", "masks", "--plan", timeout=120)

    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
