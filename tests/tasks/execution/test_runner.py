"""The contract that all runners fulfil, and the differences between them."""

import os
import signal
import threading

import pytest
from support.prepared import prepare_run
from support.ray_clusters import ray_cluster
from support.small_runs import TINY_NETWORK, make_all_shards_with, planned
from support.toy_stages import FAILING, HANGS, RECORDS_PROCESS

from clipes.tasks.execution.local_runner import LocalRunner
from clipes.tasks.execution.runner import RUNNERS, runner_for
from clipes.tasks.execution.scheduler import rows_done
from clipes.tasks.machine.devices import cores, gpu_slots
from clipes.tasks.machine.interruption import interruption_first
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.jobs import shard_job
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.ui.terminal_progress import Done
from clipes_core.errors import ConfigError, StageError

WORKERS = {"gpu_workers": 1, "cpu_workers": 1}


@pytest.fixture(scope="module")
def cluster():
    """Start a Ray cluster of one node."""
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture(params=RUNNERS)
def kind(request):
    """Return the name of a runner that can be used."""
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return request.param


@pytest.fixture
def prepared(tiny):
    """Return a function that prepares a run of two photos in two shards with a given runner."""
    tiny.add("a", "cat;dog")
    tiny.add("d", "")

    def prepared(kind, until="masks", **sections):
        execution = {"shards": 2, **WORKERS, "runner": {"kind": kind}}
        return prepare_run(tiny.config(execution=execution, **sections), until)

    return prepared


def job_of(run, stage):
    """Return the job of shard 0 for a stage that is not in the registry."""
    plan = planned(run, run.own_stages()[0], 0, {})
    return shard_job(stage, plan, run.store, run.inputs, 0)


def test_all_runners_make_the_same_rows_and_count_them(prepared, tmp_path, cluster):
    made = {}
    for kind in RUNNERS:
        run = prepared(kind, store=str(tmp_path / kind))
        with runner_for(run.config) as runner:
            ledger = make_all_shards_with(runner, run)
            done = {stage: rows_done(ledger, runner, stage) for stage in run.stages}
        assert done == {"texts": Done(45), "cams": Done(2), "masks": Done(2)}
        uris = [record.uri for stage in ("cams", "masks") for record in ledger.records(stage)]
        made[kind] = [row for uri in sorted(uris, key=os.path.basename) for row in run.store.read_rows(uri)]

    assert len(made["local"]) == 4
    assert all(rows == made["local"] for rows in made.values())


def test_every_runner_trains(prepared, kind):
    train = {"enabled": True, "mmseg_config": str(TINY_NETWORK), "init": "none", "iterations": 3, "precision": "fp32"}
    run = prepared(kind, "segmenter", train=train)

    with runner_for(run.config) as runner:
        ledger = make_all_shards_with(runner, run)
        (record,) = ledger.records("segmenter")
        done = rows_done(ledger, runner, "segmenter")
        run.store.discard(record.uri)
        done_again = rows_done(make_all_shards_with(runner, run), runner, "segmenter")

    assert (record.images, record.computed) == (3, 3)
    assert run.store.read(record.uri).num_rows >= 1
    assert (done, done_again) == (Done(3), Done(3))  # iterations of this training, not of all attempts together


def test_an_error_of_a_stage_arrives_unchanged(prepared, kind):
    run = prepared(kind)
    with runner_for(run.config) as runner, pytest.raises(StageError, match=r"^the toy stage cannot work$"):
        runner.run(job_of(run, FAILING))


def test_the_record_names_the_device_of_the_worker(prepared, kind):
    with runner_for(prepared(kind).config) as runner:
        slots = runner.slots
    assert {workers: [slot.device for slot in slots[workers]] for workers in slots} == {"cpu": ["cpu"], "gpu": ["cpu"]}


@pytest.mark.parametrize("workers", ["auto", 1])
def test_a_worker_has_as_many_threads_with_each_runner_because_they_decide_the_last_bit(tiny, kind, workers):
    config = tiny.config(execution={"gpu_workers": workers, "runner": {"kind": kind}})
    expected = {"gpu": gpu_slots(config.clip, config.execution)[0], "cpu": WorkerSlot("cpu", 1)}
    with runner_for(config) as runner:
        assert {kind: slots[0] for kind, slots in runner.slots.items()} == expected


def test_a_stage_may_choose_its_workers_by_their_devices(prepared, kind):
    with runner_for(prepared(kind, crf={"backend": "lattice"}).config) as runner:
        assert (runner.workers_for(MASKS), runner.workers_for(CAMS)) == ("cpu", "gpu")
        runner.slots = {**runner.slots, "gpu": (WorkerSlot("cuda:0", 1),)}
        assert (runner.workers_for(MASKS), runner.workers_for(CAMS)) == ("gpu", "gpu")


@pytest.mark.parametrize("execution", [{}, {"gpu_workers": 1, "cpu_workers": 1}, {"gpu_workers": 2, "cpu_workers": 3}])
def test_a_runner_counts_the_cores_of_its_machines_and_not_its_workers(tiny, kind, execution):
    with runner_for(tiny.config(execution={**execution, "runner": {"kind": kind}})) as runner:
        assert (runner.gpus(), runner.cores()) == (0, 1 if kind == "inline" and execution != WORKERS else cores())


def test_a_runner_counts_gpus_and_not_the_workers_that_share_them(tiny):
    runner = runner_for(tiny.config())
    runner.slots = {"gpu": [WorkerSlot(f"cuda:{number % 2}", 1) for number in range(6)], "cpu": [WorkerSlot("cpu", 1)]}
    assert runner.gpus() == 2
    runner.slots["gpu"] = [WorkerSlot("mps", 1)]
    assert runner.gpus() == 1


def test_a_runner_has_no_more_cores_than_its_workers_can_keep_busy(tiny):
    runner = runner_for(tiny.config(execution={"cpu_workers": 1}))
    runner.slots = {**runner.slots, "gpu": ()}
    assert runner.cores() == 1


def test_a_closed_runner_refuses_jobs(prepared, kind):
    run = prepared(kind)
    runner = runner_for(run.config)
    with runner:
        pass
    with pytest.raises(StageError, match="stopped before it was done"):
        runner.run(job_of(run, RECORDS_PROCESS))


def test_inline_runs_jobs_in_this_process_and_local_does_not(prepared):
    for kind, here in {"inline": True, "local": False}.items():
        run = prepared(kind)
        with runner_for(run.config) as runner:
            record = runner.run(job_of(run, RECORDS_PROCESS))
        assert (record.worker == f"cpu:{os.getpid()}") is here


def test_cancel_ends_the_threads_that_wait_for_a_worker(prepared):
    run = prepared("local")
    with runner_for(run.config) as runner:
        errors = []

        def wait():
            try:
                runner.run(job_of(run, HANGS))
            except StageError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        started = run.store.uri + "-hangs"
        while not os.path.exists(started):  # noqa: PTH110
            assert thread.is_alive()
        runner.__exit__(None, None, None)
        thread.join(timeout=20)
        assert [str(error) for error in errors] == ["stopped before it was done"]


def test_an_unknown_runner_or_setting_is_a_config_error(tiny):
    other = tiny.config(execution={"runner": {"kind": "cluster"}})
    with pytest.raises(
        ConfigError, match=r"^execution\.runner\.kind: Input should be 'local', 'inline' or 'ray' \(got 'clu"
    ):
        runner_for(other)
    with pytest.raises(ConfigError, match=r"^execution\.runner\.address: unknown key$"):
        runner_for(tiny.config(execution={"runner": {"kind": "inline", "address": "auto"}}))


def test_ray_refuses_a_fraction_of_several_gpus(tiny):
    told = r"^execution\.runner\.gpus_per_worker: Ray shares only single GPUs; set a number up to 1, or a whole number"
    with pytest.raises(ConfigError, match=told):
        runner_for(tiny.config(execution={"runner": {"kind": "ray", "gpus_per_worker": 1.5}}))


@pytest.mark.usefixtures("default_sigint_handler")
def test_ctrl_c_takes_precedence_over_errors_of_the_closing_runner(prepared):
    class EndsBadly(LocalRunner):
        def cancel(self):
            super().cancel()
            os.close(-1)

    with pytest.raises(KeyboardInterrupt), interruption_first(), EndsBadly(prepared("local").config):
        signal.raise_signal(signal.SIGINT)
