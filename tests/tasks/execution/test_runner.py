"""The contract of runners, for each of them; and what sets them apart."""

import os
import signal
import threading

import pytest
from support.prepared import prepare_run
from support.small_runs import TINY_NETWORK, made_with, planned
from support.toy_stages import FAILING, NOTES_ITS_PROCESS, STANDS_STILL

from clipes.tasks.execution.local_runner import LocalRunner
from clipes.tasks.execution.runner import RUNNERS, runner_for
from clipes.tasks.machine.interruption import interruption_first
from clipes.tasks.plan.jobs import shard_job
from clipes_core.errors import ConfigError, StageError

EVERY_RUNNER = pytest.mark.parametrize("kind", RUNNERS)
WORKERS = {"gpu_workers": 1, "cpu_workers": 1}


@pytest.fixture
def prepared(tiny):
    """Two photos in two shards, made by a runner of some kind."""
    tiny.add("a", "cat;dog")
    tiny.add("d", "")

    def prepared(kind, until="masks", **sections):
        execution = {"shards": 2, **WORKERS, "runner": {"kind": kind}}
        return prepare_run(tiny.config(execution=execution, **sections), until)

    return prepared


def job_of(run, stage):
    """The job of a shard of a stage that no pipeline has."""
    plan = planned(run, run.own_stages()[0], 0, {})
    return shard_job(stage, plan, run.store, run.inputs, 0)


def test_every_runner_makes_the_same_rows_and_counts_them(prepared, tmp_path):
    made = {}
    for kind in RUNNERS:
        run = prepared(kind, store=str(tmp_path / kind))
        with runner_for(run.config) as runner:
            ledger = made_with(runner, run)
            counted = {stage: runner.rows(stage) for stage in run.stages}
        assert counted == {"texts": 45, "cams": 2, "masks": 2}
        uris = [record.uri for stage in ("cams", "masks") for record in ledger.records(stage)]
        made[kind] = [row for uri in sorted(uris, key=os.path.basename) for row in run.store.read_rows(uri)]

    assert len(made["local"]) == 4
    assert all(rows == made["local"] for rows in made.values())


@EVERY_RUNNER
def test_every_runner_trains(prepared, kind):
    train = {"enabled": True, "mmseg_config": str(TINY_NETWORK), "init": "none", "iterations": 3, "precision": "fp32"}
    run = prepared(kind, "segmenter", train=train)

    with runner_for(run.config) as runner:
        (record,) = made_with(runner, run).records("segmenter")
        counted = runner.rows("segmenter")
        run.store.discard(record.uri)
        made_with(runner, run)
        counted_again = runner.rows("segmenter")

    assert (record.images, record.computed) == (3, 3)
    assert run.store.read(record.uri).num_rows >= 1
    assert (counted, counted_again) == (3, 3)  # iterations of this training, not of all attempts together


@EVERY_RUNNER
def test_what_a_stage_raises_comes_as_it_is(prepared, kind):
    run = prepared(kind)
    with runner_for(run.config) as runner, pytest.raises(StageError, match=r"^the toy stage cannot work$"):
        runner.run(job_of(run, FAILING))


@EVERY_RUNNER
def test_a_runner_says_where_it_computes(prepared, kind):
    slots = runner_for(prepared(kind).config).slots
    assert {workers: [slot.device for slot in slots[workers]] for workers in slots} == {"cpu": ["cpu"], "gpu": ["cpu"]}


@EVERY_RUNNER
def test_a_runner_that_was_closed_makes_nothing(prepared, kind):
    run = prepared(kind)
    runner = runner_for(run.config)
    with runner:
        pass
    with pytest.raises(StageError, match="stopped before it was done"):
        runner.run(job_of(run, NOTES_ITS_PROCESS))


def test_inline_works_in_this_process_and_local_does_not(prepared):
    for kind, here in {"inline": True, "local": False}.items():
        run = prepared(kind)
        with runner_for(run.config) as runner:
            record = runner.run(job_of(run, NOTES_ITS_PROCESS))
        assert (record.worker == f"cpu:{os.getpid()}") is here


def test_cancelling_ends_who_waits_for_a_worker(prepared):
    run = prepared("local")
    with runner_for(run.config) as runner:
        errors = []

        def wait():
            try:
                runner.run(job_of(run, STANDS_STILL))
            except StageError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        started = run.store.uri + "-stands-still"
        while not os.path.exists(started):  # noqa: PTH110
            assert thread.is_alive()
        runner.__exit__(None, None, None)
        thread.join(timeout=20)
        assert [str(error) for error in errors] == ["stopped before it was done"]


def test_an_unknown_runner_or_key_is_an_error_of_the_config(tiny):
    other = tiny.config(execution={"runner": {"kind": "cluster"}})
    with pytest.raises(ConfigError, match=r"^execution\.runner\.kind: Input should be 'local' or 'inline' \(got 'clu"):
        runner_for(other)
    with pytest.raises(ConfigError, match=r"^execution\.runner\.address: unknown key$"):
        runner_for(tiny.config(execution={"runner": {"kind": "inline", "address": "auto"}}))


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_comes_before_an_error_of_a_local_runner_that_ends(prepared):
    class EndsBadly(LocalRunner):
        def cancel(self):
            super().cancel()
            os.close(-1)

    with pytest.raises(KeyboardInterrupt), interruption_first(), EndsBadly(prepared("local").config):
        signal.raise_signal(signal.SIGINT)
