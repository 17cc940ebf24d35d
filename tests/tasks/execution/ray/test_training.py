"""Trainings on a cluster of three real nodes, each with room for one worker."""

import pytest
from support.ray_clusters import ray_cluster
from support.ray_runs import RAY
from support.small_runs import TINY_NETWORK, make_all_shards_with

from clipes.tasks.execution.runner import runner_for
from clipes.tasks.stages.segmenter import read_training_facts

EVEN = str(TINY_NETWORK.parent / "even.py")  # its batch size is even
WORKERS = {"gpu_workers": 2, "cpu_workers": 1}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_training_uses_as_many_nodes_as_the_settings_permit(small, monkeypatch):
    monkeypatch.setattr("clipes.tasks.execution.ray.nodes.SHARED_CORE", 1)  # so that no two workers share a node
    found = {}
    with ray_cluster(*({"num_cpus": 1, "node_name": name} for name in ("second", "third")), num_cpus=1):
        for nodes in (1, 2):
            settings = {**RAY, "training_nodes": nodes}
            train = {"mmseg_config": EVEN, "seed": nodes}
            run = small.prepared(train=train, execution={**WORKERS, "runner": settings})
            with runner_for(run.config) as runner:
                (record,) = make_all_shards_with(runner, run).records("segmenter")
                assert runner.rows("segmenter") == 30
            found[nodes] = read_training_facts(record.uri)["processes"]
    assert found == {1: 1, 2: 2}
