"""Runs on clusters of real Ray nodes whose workers, nodes and head fail."""

from pathlib import Path

import pytest
from support.process_watch import all_end_within
from support.ray_clusters import ray_cluster
from support.ray_runs import PHOTOS, artifacts_of, make_in_parallel, worker_processes

from clipes.tasks.execution.runner import runner_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_two_nodes_make_the_artifacts_of_the_local_runner(run_on, expected):
    run = run_on()
    with ray_cluster({"node_name": "second"}):
        with runner_for(run.config) as runner:
            ledger = make_in_parallel(runner, run)
            counted = {stage: runner.rows(stage) for stage in ("cams", "masks")}
            processes = worker_processes()
        assert artifacts_of(run, ledger) == expected
        assert counted == {"cams": PHOTOS, "masks": PHOTOS}
        workers = {record.worker.partition(":")[0] for record in ledger.records("cams")}
        assert workers == {"first/cpu", "second/cpu"}
        assert all_end_within(10, processes)
        assert {path.name for path in Path(run.store.uri).iterdir()} == {"artifacts"}  # the probe left no files
