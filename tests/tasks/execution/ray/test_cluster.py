"""Runs on clusters of real Ray nodes whose workers and nodes fail, or do not suit the run."""

import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
from support.disturbed_stages import Disturbed, computed, disturbed_run
from support.process_watch import all_end_within
from support.ray_clusters import PYTHONPATH, add_node, freeze, node_of, ray_cluster, worker_processes
from support.ray_runs import (
    PHOTOS,
    RAY,
    artifacts_of,
    make_in_parallel,
    wait_for_artifact,
    wait_for_hanging_worker,
)
from support.s3_server import STRANGER

from clipes.tasks.execution.ray import pool
from clipes.tasks.execution.runner import runner_for
from clipes.tasks.execution.scheduler import rows_done
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.machine.devices import clip_precision, cores
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.preparation import prepare_run
from clipes.tasks.runs.record.contents import status_table
from clipes.tasks.storage.listing import list_names
from clipes_core.errors import ConfigError, WorkerError

FAKE_CUDA = Path(__file__).parents[3] / "support" / "fake_cuda"
WITH_GPU = {
    "node_name": "second",
    "num_gpus": 1,
    "env_vars": {"PYTHONPATH": os.pathsep.join([str(FAKE_CUDA), PYTHONPATH])},
}
# Ray finds a frozen node after about a minute. With these settings, it takes three seconds.
IMPATIENT = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}

pytestmark = pytest.mark.slow


def workers_of(ledger, stage="cams"):
    """Return the nodes whose workers have made shards of a stage."""
    return {record.worker.partition("/")[0] for record in ledger.records(stage)}


def disturbed_shards(run, runner, marks=None):
    """Return the shards of a stage whose workers hang after two rows."""
    return StageShards(run, Ledger(run.photos, 1), Disturbed("hangs", marks=marks), runner, {})


def test_two_nodes_make_the_artifacts_of_the_local_runner_and_a_killed_worker_is_replaced(
    run_on, expected, s3_folder, tmp_path, caplog
):
    """The store is on an S3 server."""
    run, marks = run_on(f"{s3_folder}/store"), str(tmp_path / "marks")
    disturbed = disturbed_run(f"{s3_folder}/disturbed", ["a", "b", "c"], 3600, config=run.config)
    with ray_cluster({"node_name": "second"}) as cluster, ThreadPoolExecutor(1) as thread:
        with runner_for(run.config) as runner:
            ledger = make_in_parallel(runner, run)
            done = {stage: rows_done(ledger, runner, stage) for stage in ("cams", "masks")}
            making = thread.submit(disturbed_shards(disturbed, runner, marks).make, 0)
            killed = wait_for_hanging_worker(marks, runner, making)
            processes = worker_processes(cluster)
            psutil.Process(killed).kill()
            record = making.result()
            processes += worker_processes(cluster)
        assert all_end_within(10, processes)
    assert artifacts_of(run, ledger) == expected
    assert all(rows.computed + rows.reused == PHOTOS for rows in done.values()), done
    assert workers_of(ledger) <= {"first", "second"}
    rows = status_table(ledger, run.store.uri).to_pylist()
    assert {row["worker"].partition("/")[0] for row in rows if row["stage"] == "cams"} == workers_of(ledger)
    assert killed in [process.pid for process in processes]
    assert not record.worker.endswith(f":{killed}")
    told = "died (often because memory ran out); it kept 2 rows, 1 are left"
    assert len([message for message in caplog.messages if told in message]) == 1
    assert computed(marks) == ["a", "b", "c"]  # the next worker computed only the row that was missing
    assert not list_names(f"{run.store.uri}/claims")  # the probe left no files


def test_a_lost_node_costs_no_attempt_and_a_new_node_takes_over(run_on, expected, s3_folder):
    """The store is on an S3 server."""
    run = run_on(f"{s3_folder}/store")
    with ray_cluster({"node_name": "second"}) as cluster, ThreadPoolExecutor(1) as thread:
        with runner_for(run.config) as runner:
            making = thread.submit(make_in_parallel, runner, run)
            wait_for_artifact(run, making)
            (second,) = cluster.worker_nodes
            cluster.remove_node(second, allow_graceful=False)
            assert artifacts_of(run, making.result()) == expected
            left = {process.pid for process in worker_processes(cluster)}
            add_node(cluster, node_name="third")
            while {process.pid for process in worker_processes(cluster)} <= left:
                time.sleep(0.1)
            processes = worker_processes(cluster)
        assert all_end_within(10, processes)


def test_a_frozen_node_costs_no_attempt_and_its_workers_end_once_it_thaws(photos, s3_folder, tmp_path, caplog):
    """The store is on an S3 server."""
    store, marks = f"{s3_folder}/store", str(tmp_path / "marks")
    config = photos.config(store=store, execution={"runner": RAY, "gpu_workers": 1, "cpu_workers": 1})
    run = disturbed_run(store, ["a", "b", "c"], 3600, config=config)
    nodes = [{"num_cpus": 1, "node_name": name} for name in ("second", "third")]
    with ray_cluster(*nodes, num_cpus=0, _system_config=IMPATIENT) as cluster, ThreadPoolExecutor(1) as thread:
        with runner_for(run.config) as runner:
            making = thread.submit(disturbed_shards(run, runner, marks).make, 0)
            busy = wait_for_hanging_worker(marks, runner, making)
            processes = worker_processes(cluster)
            frozen = freeze(node_of(busy, cluster.worker_nodes))
            try:
                record = making.result()
            finally:
                for process in frozen:
                    process.resume()
            processes += worker_processes(cluster)
        assert busy in [process.pid for process in processes]
        assert all_end_within(10, processes)
    survivor = record.worker.partition("/")[0]
    (other,) = {"second", "third"} - {survivor}
    told = f"masks shard 0: the machine {other} of its worker was lost; another worker makes the shard"
    assert caplog.messages.count(told) == 1
    assert computed(marks) == ["a", "b", "c"]


def test_a_run_on_processors_uses_the_processors_of_nodes_that_join_and_warns_of_unused_gpus(run_on, expected, caplog):
    run = run_on()
    config = run.config.model_copy(update={"clip": run.config.clip.model_copy(update={"device": "auto"})})
    with ray_cluster(num_cpus=1) as cluster, runner_for(config) as runner:
        before = len(worker_processes(cluster))
        add_node(cluster, num_cpus=1, **WITH_GPU)
        while len(worker_processes(cluster)) < 2 * before:
            time.sleep(0.1)
        ledger = make_in_parallel(runner, run)
        assert runner.most_jobs("gpu") == 2
    assert artifacts_of(run, ledger) == expected
    assert "second" in workers_of(ledger, "cams") | workers_of(ledger, "masks")
    warnings = [each for each in caplog.messages if "the machine second of the Ray cluster has GPUs, but" in each]
    assert len(warnings) == 1


def test_the_rows_kept_before_a_node_is_lost_are_reused_and_the_fourth_loss_fails_the_attempt(photos, tmp_path):
    """On each node, a worker keeps two rows and hangs."""
    store, image_ids = str(tmp_path / "store"), [str(number) for number in range(10)]
    config = photos.config(store=store, execution={"runner": RAY, "gpu_workers": 1, "cpu_workers": 1})
    run = disturbed_run(store, image_ids, 3600, config=config)
    nodes = [{"num_cpus": 1, "node_name": f"node{number}"} for number in range(4)]
    with (
        ray_cluster(*nodes, num_cpus=0) as cluster,
        ThreadPoolExecutor(1) as thread,
        runner_for(run.config) as runner,
    ):
        making = thread.submit(disturbed_shards(run, runner).make, 0)
        for _ in nodes:
            busy = wait_for_hanging_worker(store, runner, making)
            cluster.remove_node(node_of(busy, cluster.worker_nodes), False)
        with pytest.raises(WorkerError, match=r"^4 machines were lost while they made the shard$"):
            making.result()
        assert runner.rows("masks") == 0
    assert computed(store) == image_ids[:8]


@pytest.fixture
def other_home(photos, tmp_path, monkeypatch, seeded_weights, s3):
    """Return a config with weights in the home folder, and a node with other weights and without access to S3."""
    homes = [tmp_path / "first", tmp_path / "second"]
    for home in homes:
        home.mkdir()
        shutil.copy(seeded_weights, home / "clip.pt")
    with (homes[1] / "clip.pt").open("ab") as file:
        file.write(b"changed")
    monkeypatch.setenv("HOME", str(homes[0]))
    config = photos.config(store=str(tmp_path / "store"), execution={"runner": RAY}, clip={"pretrained": "~/clip.pt"})
    return config, {"node_name": "second", "env_vars": {"HOME": str(homes[1]), **s3.environment(STRANGER)}}


OTHER_WEIGHTS = (
    r"^the machine (first|second) of the Ray cluster does not suit the run: the digest of its weights is \w{16}, "
    r"and \w{16} on the other machines"
)


def test_a_node_with_other_weights_or_without_access_to_the_photos_is_refused(
    other_home, photos, s3, s3_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("clipes.tasks.execution.ray.nodes.SHARED_CORE", 1)
    full = {"gpu_workers": 3, "cpu_workers": 1}  # so that both nodes get workers that run networks
    config, second = other_home
    config = config.model_copy(update={"execution": config.execution.model_copy(update=full)})
    (single := tmp_path / "single.csv").write_text("image,labels\nphoto0.png,cat\n")
    s3.files().put_file(photos.folder / "photo0.png", f"{s3_folder}/photo0.png")
    dataset = {"format": "list", "root": s3_folder, "split": str(single)}
    on_s3 = photos.config(store=config.store, dataset=dataset, execution={"runner": RAY, **full})
    listed = list_photos(on_s3).photos
    unreachable = (
        "the machine second of the Ray cluster does not suit the run: it cannot open a photo of the run "
        f"({s3_folder}/photo0.png"
    )
    with ray_cluster({**second, "num_cpus": 2}, num_cpus=2):
        with pytest.raises(ConfigError, match=f"{OTHER_WEIGHTS}$"), runner_for(config):
            pass
        with pytest.raises(ConfigError) as told, runner_for(on_s3, photos=listed):
            pass
        assert str(told.value).startswith(unreachable)
        assert not ray.is_initialized()


def test_a_node_with_other_weights_that_joins_gets_no_work(other_home, caplog):
    config, second = other_home
    with ray_cluster() as cluster, runner_for(config):
        add_node(cluster, **second)
        while not (warnings := [each.message for each in caplog.records if each.levelname == "WARNING"]):
            time.sleep(0.1)
    assert re.fullmatch(f"{OTHER_WEIGHTS}; it gets no work", warnings[0])


def test_the_devices_of_the_workers_decide_the_keys_not_those_of_the_head(photos, run_on, tmp_path):
    config = photos.config(
        store=str(tmp_path / "store"),
        execution={"runner": {**RAY, "cpus_per_gpu_worker": 1, "gpus_per_worker": 0.5}},
        clip={"precision": "auto", "device": "auto"},
    )
    with ray_cluster(WITH_GPU), runner_for(config, writes=False) as runner:
        workers = runner.network_workers()
        assert (runner.gpus(), runner.cores()) == (1, 2 * cores())
    assert [slot.device for slot in workers.slots] == ["cuda:0", "cuda:0"]
    assert clip_precision(config.clip, workers.slots) == "fp16"
    run = prepare_run(config, "cams", list_photos(config), workers)
    on_head = replace(run.inputs, precision="fp32")
    assert run.keys["cams"] != run.with_inputs(on_head).keys["cams"]
    assert not (tmp_path / "store").exists()


def test_a_plan_waits_for_a_free_gpu_and_then_says_what_it_needs(photos, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(pool, "QUIET_SECONDS", 1.0)

    def runner(wait_s):
        ray_settings = {**RAY, "cpus_per_gpu_worker": 1, "wait_s": wait_s}
        config = photos.config(
            store=str(tmp_path / "store"),
            execution={"runner": ray_settings},
            clip={"precision": "auto", "device": "auto"},
        )
        return runner_for(config, writes=False)

    needs = r"\(each needs GPUs: 1, cores: 1\)"
    told = rf"^no worker of the Ray cluster was ready within 3 s {needs}"
    with ray_cluster(WITH_GPU), runner(60), pytest.raises(WorkerError, match=told), runner(3):
        pass
    assert any(re.fullmatch(f"waiting up to 3 s for a worker .* {needs}", message) for message in caplog.messages)


def test_a_cluster_without_room_for_a_worker_says_where_to_look(run_on):
    run = run_on(runner={**RAY, "wait_s": 2})
    with (
        ray_cluster(num_cpus=0),
        pytest.raises(WorkerError, match=r"^no worker of the Ray cluster was ready within 2 s .* `ray status` shows"),
        runner_for(run.config),
    ):
        pass
