"""What `clipes doctor` finds on a cluster of two real nodes."""

import os
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from support.ray_clusters import PYTHONPATH, freeze, ray_cluster
from support.ray_runs import RAY

from clipes.tasks.execution.ray import doctor
from clipes.tasks.execution.runner import check_runner

pytestmark = pytest.mark.slow


@pytest.fixture
def examined(photos, tmp_path):
    """Return a function that returns what was checked -> whether it works, and details."""

    def examined(**runner):
        config = photos.config(store=str(tmp_path / "store"), execution={"runner": {**RAY, **runner}})
        return {what: (works, detail) for what, works, detail in check_runner(config).examine(config)}

    return examined


def test_a_sound_cluster_passes_all_checks_and_a_frozen_machine_is_named_in_time(examined, tmp_path, monkeypatch):
    with ray_cluster({"node_name": "second"}) as cluster:
        found = examined()
        with monkeypatch.context() as patch:  # while nothing connects: Ray would keep the token for good
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
            of_caller_with_token = doctor._check_ports(cluster.address)
        monkeypatch.setattr(doctor, "ANSWER_SECONDS", 2.0)
        (second,) = cluster.worker_nodes
        frozen = freeze(second)
        try:
            with_frozen_node = examined()
        finally:
            for process in frozen:
                with suppress(psutil.NoSuchProcess):  # the workers of a killed raylet end
                    process.kill()
    told = "has not answered within 2 s: start Ray there again if the machine hangs"
    assert with_frozen_node["ray second"] == (False, told)
    assert "ray network" not in with_frozen_node
    works, detail = found.pop("ray ports")
    assert (works, detail) == of_caller_with_token
    assert works is None
    assert "the cluster accepts clients without a token" in detail
    assert all(works for works, _ in found.values()), found
    assert set(found) == {"ray cluster", "ray first", "ray second", "ray network"}
    assert found["ray cluster"][1].startswith("2 machines with room for ")
    assert found["ray network"][1] == "an all-reduce over 2 machines gives 2"
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


@pytest.fixture
def weights_at_home(photos, tmp_path, monkeypatch, seeded_weights):
    """Return a config whose weights are in the home folder of this process, which other nodes of a test lack."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "clip.pt").write_bytes(seeded_weights.read_bytes())
    monkeypatch.setenv("HOME", str(home))
    clip = {"pretrained": "~/clip.pt", "device": "cpu"}
    return photos.config(store=str(tmp_path / "store"), execution={"runner": RAY}, clip=clip)


def test_a_node_without_the_weights_is_named(weights_at_home, tmp_path):
    with ray_cluster({"node_name": "second", "env_vars": {"HOME": str(tmp_path)}}):
        found = {
            what: (works, detail) for what, works, detail in check_runner(weights_at_home).examine(weights_at_home)
        }
    assert found["ray first"][0]
    works, detail = found["ray second"]
    assert not works
    assert "the machine second of the Ray cluster does not suit the run: clip.pretrained ~/clip.pt" in detail


def test_a_machine_that_runs_no_networks_needs_no_weights(weights_at_home, tmp_path):
    with ray_cluster({"node_name": "second", "num_cpus": 0, "env_vars": {"HOME": str(tmp_path)}}):
        found = {
            what: (works, detail) for what, works, detail in check_runner(weights_at_home).examine(weights_at_home)
        }
    works, detail = found["ray second"]
    assert works, detail
    assert "packages (it needs no weights) are those of this run" in detail


def test_a_missing_cluster_is_the_only_finding(examined):
    found = examined(address="127.0.0.1:1")
    assert list(found) == ["ray cluster"]
    works, detail = found["ray cluster"]
    assert not works
    assert detail.startswith("execution.runner.address 127.0.0.1:1: cannot connect to a Ray cluster")


TOKEN_CLUSTER = """
from support.ray_clusters import ray_cluster
from clipes.tasks.execution.ray.doctor import _check_ports

with ray_cluster() as cluster:
    print(*_check_ports(cluster.address))
"""


def test_a_cluster_that_refuses_clients_without_a_token_passes():
    """Ray reads its use of tokens once per process, so the cluster is started by another process."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(
        [sys.executable, "-c", TOKEN_CLUSTER], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["True the cluster refuses clients without a token"], done.stderr
