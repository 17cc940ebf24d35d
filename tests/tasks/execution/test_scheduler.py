import threading

import pytest
from prefect import flow
from support.prepared import prepare_run
from support.small_runs import PoolRunner

from clipes.tasks.execution.scheduler import Scheduler, group_label, scheduler_for, shard_groups, thread_count
from clipes.tasks.machine.background import in_background
from clipes.tasks.runs.ledger import Ledger
from clipes_core.errors import StageError


@pytest.mark.parametrize(
    ("shards", "groups", "size"), [(1, 1, 1), (2000, 2000, 1), (2001, 1001, 2), (8000, 2000, 4), (100_000, 2000, 50)]
)
def test_shards_are_grouped_only_if_there_are_too_many_of_them(shards, groups, size):
    found = shard_groups(range(shards), shards)
    assert len(found) == groups
    assert max(map(len, found)) == size
    assert [shard for group in found for shard in group] == list(range(shards))


def test_groups_of_all_stages_have_the_same_bounds():
    assert shard_groups([0, 1, 3, 4, 9], 8000) == [(0, 1, 3), (4,), (9,)]
    assert shard_groups([2, 9], 8000) == [(2,), (9,)]
    assert shard_groups([], 8000) == []


@pytest.mark.parametrize(
    ("group", "count", "label"),
    [
        ((7,), 32, "007/032"),
        ((0,), 1, "000/001"),
        ((999,), 2000, "0999/2000"),
        ((0, 1, 3), 8000, "0000-0003/8000"),
        ((99_950, 99_999), 100_000, "099950-099999/100000"),
    ],
)
def test_a_group_label_names_its_shards_and_their_number(group, count, label):
    assert group_label(group, count) == label


@pytest.mark.parametrize(("workers", "threads"), [(1, 2), (4, 5), (8, 10), (96, 120)])
def test_there_is_a_quarter_more_threads_than_workers(workers, threads):
    assert thread_count(workers) == threads


SHARDS = 6


@pytest.fixture
def scheduled(tiny, pool, server):
    """Return a function that runs the shards until `masks` in a flow, with a runner of the given class."""
    names = [f"photo {number}" for number in range(4 * SHARDS)]
    for name in names:
        tiny.add(name, "cat;dog")

    def scheduled(runner_class):
        workers = {"cpu_workers": 1, "gpu_workers": 2, "retries": 0}
        run = prepare_run(tiny.config(execution={"shards": SHARDS, **workers}), "masks")
        assert len(run.shards(run.own_stages()[-1])) == SHARDS
        ledger, runner = Ledger(run.photos, 1), runner_class(pool, run.config)

        @flow
        def run_shards():
            with scheduler_for(run, ledger, runner) as scheduler:
                for stage in run.stages:
                    scheduler.submit(run, stage)
                scheduler.wait()

        return ledger, run_shards

    return scheduled


class CountsSubmissions:
    """Threads that start no task run."""

    def __init__(self):
        self.count = 0

    def submit(self, *_args, **_options):
        self.count += 1
        raise StageError("this test starts no task run")


@pytest.mark.parametrize(("stopped", "submitted"), [(False, 1 + SHARDS), (True, 0)])
def test_no_task_run_is_submitted_once_the_scheduler_is_stopped(tiny, pool, stopped, submitted):
    for number in range(4 * SHARDS):
        tiny.add(f"photo {number}", "cat")
    run, threads = prepare_run(tiny.config(execution={"shards": SHARDS}), "cams"), CountsSubmissions()
    kinds = dict.fromkeys(("cpu", "gpu", "cached"), threads)
    scheduler = Scheduler(Ledger(run.photos, 1), PoolRunner(pool, run.config), kinds)
    scheduler.submit(run, "texts")
    scheduler.submit(run, "cams")
    if stopped:
        scheduler.stop_submitting()
        scheduler.submit_ready()
    else:
        with in_background(lambda _: scheduler.submit_ready(), "submit"):
            with pytest.raises(StageError, match="this test starts no task run"):
                scheduler.wait()
            scheduler.stop_submitting()
    assert threads.count == submitted


class KeepsOpen(PoolRunner):
    """A runner that does not close the pool of the tests."""

    def cancel(self):
        pass


class HoldsAShard(KeepsOpen):
    """Holds shard 0 of the CAMs until the masks of all other shards are made."""

    def __init__(self, pool, config):
        super().__init__(pool, config)
        self._made, self._others_made = set(), threading.Event()
        self.held_to_the_end = False

    def run(self, job):
        if (job.stage.name, job.plan.shard) == ("cams", 0):
            self.held_to_the_end = self._others_made.wait(120)
        record = super().run(job)
        if job.stage.name == "masks":
            self._made.add(job.plan.shard)
            if len(self._made) == SHARDS - 1:
                self._others_made.set()
        return record


@pytest.mark.slow
def test_a_shard_that_hangs_delays_only_the_shards_that_read_it(scheduled):
    runners = []

    def holding(*arguments):
        runners.append(HoldsAShard(*arguments))
        return runners[0]

    ledger, run_shards = scheduled(holding)
    run_shards()

    assert runners[0].held_to_the_end
    assert {record.stage: len(ledger.records(record.stage)) for record in ledger.records()} == {
        "texts": 1,
        "cams": SHARDS,
        "masks": SHARDS,
    }


class FailsInAShard(KeepsOpen):
    """Fails in shard 1 of the CAMs."""

    def run(self, job):
        if (job.stage.name, job.plan.shard) == ("cams", 1):
            raise StageError("no CAMs")
        return super().run(job)


@pytest.mark.slow
def test_shards_that_read_no_failed_shard_are_made(scheduled):
    ledger, run_shards = scheduled(FailsInAShard)
    with pytest.raises(StageError, match="cams shard 1: no CAMs"):
        run_shards()
    assert [record.shard for record in ledger.records("masks")] == [0, *range(2, SHARDS)]
