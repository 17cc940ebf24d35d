"""Trainings on clusters of real nodes."""

from dataclasses import replace

import pytest
import ray
from support.ray_clusters import ray_cluster
from support.ray_runs import RAY
from support.small_runs import TINY_NETWORK, make_all_shards_with

from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import WorkerRequest, connected
from clipes.tasks.execution.ray.pool import RayPool
from clipes.tasks.execution.ray.reports import RowCounts
from clipes.tasks.execution.ray.training import TrainingPool
from clipes.tasks.execution.runner import runner_for
from clipes.tasks.execution.scheduler import rows_done
from clipes.tasks.stages.segmenter import read_training_facts
from clipes.tasks.ui.terminal_progress import Done

EVEN = str(TINY_NETWORK.parent / "even.py")  # its batch size is even
WORKERS = {"gpu_workers": 2, "cpu_workers": 1}

pytestmark = pytest.mark.slow


def test_a_training_uses_as_many_nodes_as_the_settings_permit(small, monkeypatch):
    monkeypatch.setattr("clipes.tasks.execution.ray.nodes.SHARED_CORE", 1)  # so that no two workers share a node
    found = {}
    with ray_cluster(*({"num_cpus": 1, "node_name": name} for name in ("second", "third")), num_cpus=1):
        for nodes in (1, 2):
            settings = {**RAY, "training_nodes": nodes}
            train = {"mmseg_config": EVEN, "seed": nodes}
            run = small.prepared(train=train, execution={**WORKERS, "runner": settings})
            with runner_for(run.config) as runner:
                ledger = make_all_shards_with(runner, run)
                (record,) = ledger.records("segmenter")
                assert rows_done(ledger, runner, "segmenter") == Done(30)
            found[nodes] = read_training_facts(record.uri)["processes"]
    assert found == {1: 1, 2: 2}


def test_a_training_that_is_repeated_has_all_workers_and_avoids_refused_machines(photos, tmp_path):
    request = WorkerRequest("cpu", 1, 0, 1, 2, networks=False, fixed=True)
    with ray_cluster({"num_cpus": 2, "node_name": "second"}, num_cpus=2), connected("auto"):
        hosts = Hosts(photos.config(store=str(tmp_path / "store")), probes=False)
        pools = [RayPool(each, hosts, RowCounts(), 60) for each in (request, replace(request, count=0))]
        training = TrainingPool(*pools, most_nodes=2, wait_s=60)
        try:
            first = training.devices
            with training.gathered(2):
                pass
            assert first == training.devices == ("cpu", "cpu")
            for refused in [node["NodeID"] for node in ray.nodes()]:
                hosts.banned = {refused}
                with training.gathered(2), training.joint_worker(0) as start:
                    assert start(node_id).result() != refused
        finally:
            training.close()
            for pool in pools:
                pool.close()


def node_id():
    """Return Ray's id of the machine; called in a worker."""
    return ray.get_runtime_context().get_node_id()
