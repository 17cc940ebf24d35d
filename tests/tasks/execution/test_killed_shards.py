"""Shards whose workers are killed, hang or run out of memory: the next worker computes only the rows that are left."""

import logging
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.damage import flip
from support.disturbed_stages import Disturbed, Slow, Undisturbed, computed, disturbed_run
from support.pool_calls import worker_pool
from support.small_runs import PoolRunner

from clipes.tasks.execution.scheduler import rows_done
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.ui.terminal_progress import Done
from clipes_core.errors import NodeLostError, WorkerError

PHOTOS = ["a", "bb", "ccc", "dddd", "eeeee"]
TIMEOUT_S = 3600.0  # no part is written because of its age


@pytest.fixture(scope="module")
def one():
    """Yield a pool of one worker, which the stages of these tests kill."""
    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as pool:
        yield pool


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "store")


def shards_of(pool, stage, run):
    """Return the shards of a stage of a run, to be made by a real worker."""
    ledger = Ledger(run.photos, 1)
    ledger.planned(stage.name, 0)
    return StageShards(run, ledger, stage, PoolRunner(pool, run.config), {})


def made(pool, stage, run):
    """Make the only shard of a run in a worker, and return its record."""
    return shards_of(pool, stage, run).make(0)


def table(run, record):
    """Return the rows of a shard in the order of their ids."""
    return run.store.read(record.uri).sort_by("image_id")


def undisturbed_table(pool, tmp_path, image_ids=PHOTOS):
    """Return the rows of a shard whose worker is not disturbed."""
    run = disturbed_run(str(tmp_path / "undisturbed"), image_ids, 3600)
    return table(run, made(pool, Undisturbed(), run))


def parts(store):
    return sorted(Path(store).rglob("*.part-*"))


def leave_parts(pool, store, image_ids=PHOTOS):
    """Make a shard whose first two workers keep two rows each, and whose third worker keeps none."""
    with pytest.raises(WorkerError, match="died with exit code -9"):
        made(pool, Disturbed("killed", attempts_with_part=2), disturbed_run(store, image_ids, TIMEOUT_S))
    assert len(parts(store)) == 2
    Path(f"{store}-computed").unlink()


@pytest.mark.parametrize(
    ("end", "timeout_s", "reason"),
    [
        ("killed", TIMEOUT_S, r"its worker process died with exit code -9 \(.*\)"),
        ("out of memory", TIMEOUT_S, "its worker process ran out of memory"),
        pytest.param("hangs", 10.0, r"stopped after 10 s: raise execution\.shard_timeout_s", marks=pytest.mark.slow),
    ],
)
def test_each_worker_computes_only_the_rows_that_are_left(one, store, tmp_path, end, timeout_s, reason, caplog):
    run = disturbed_run(store, PHOTOS, timeout_s)
    with caplog.at_level(logging.WARNING):
        record = made(one, Disturbed(end), run)

    assert computed(store) == PHOTOS
    assert (record.images, record.copied, record.computed) == (5, 4, 1)
    assert table(run, record).equals(undisturbed_table(one, tmp_path))
    assert parts(store) == []
    messages = [f"masks shard 0: {reason}; it kept 2 rows, {left} are left" for left in (3, 1)]
    assert len(caplog.messages) == 2
    assert all(re.fullmatch(*pair) for pair in zip(messages, caplog.messages, strict=True)), caplog.messages


def test_the_progress_counts_the_rows_of_a_killed_worker_once(one, store):
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    shards, runner = shards_of(one, Disturbed("hangs"), run), PoolRunner(one, run.config)
    with ThreadPoolExecutor(1) as threads:
        making = threads.submit(shards.make, 0)
        for _ in range(2):
            while not (hanging := list(Path(store).parent.glob("store-hangs-*"))):
                assert not making.done(), making.exception()
                time.sleep(0.01)
            assert rows_done(shards.ledger, runner, "masks") == Done(2)
            (file,) = hanging
            file.unlink()
            os.kill(int(file.name.rpartition("-")[2]), signal.SIGKILL)
        shards.ledger.finished(making.result(), 1)
    assert rows_done(shards.ledger, runner, "masks") == Done(1, 4)
    assert computed(store) == PHOTOS


def test_an_attempt_that_keeps_no_row_fails(one, store):
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    with pytest.raises(WorkerError, match="died with exit code -9"):
        made(one, Disturbed("killed", attempts_with_part=1), run)
    assert computed(store) == ["a", "bb", "ccc"]  # the second attempt fails after one row


def test_a_later_run_computes_only_the_rows_that_are_left(one, store, tmp_path):
    leave_parts(one, store)
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    assert run.plan(Undisturbed(), 0, {}, {}).copied == 4

    record = made(one, Undisturbed(), run)

    assert computed(store) == PHOTOS[4:]
    assert table(run, record).equals(undisturbed_table(one, tmp_path))
    assert parts(store) == []


def test_the_rows_of_a_damaged_part_are_computed_again(one, store, tmp_path, caplog):
    leave_parts(one, store)
    first, second = (frozenset(rows) for rows in (PHOTOS[:2], PHOTOS[2:4]))
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    copies = run.plan(Undisturbed(), 0, {}, {}).copies
    (damaged,) = (uri for uri, rows in copies.items() if frozenset(rows) == second)
    flip(Path(damaged), 5)

    record = made(one, Undisturbed(), run)

    assert (record.copied, record.computed) == (2, 3)
    assert frozenset(computed(store)) == frozenset(PHOTOS) - first
    assert table(run, record).equals(undisturbed_table(one, tmp_path))
    assert parts(store) == []
    assert f"{damaged} cannot be read (it fails its checksum): clipes copies no rows from it" in caplog.text


def test_parts_that_are_no_parquet_files_are_ignored(one, store, tmp_path, caplog):
    leave_parts(one, store)
    for part in parts(store):
        part.write_bytes(b"no Parquet")
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)

    record = made(one, Undisturbed(), run)

    assert (record.copied, computed(store)) == (0, PHOTOS)
    assert table(run, record).equals(undisturbed_table(one, tmp_path))
    for part in parts(store):
        assert (
            f"{part} cannot be read (it does not end as a Parquet file): clipes copies no rows from it" in caplog.text
        )


def test_parts_of_another_content_or_another_stage_key_are_not_used(one, store):
    leave_parts(one, store)
    more = disturbed_run(store, [*PHOTOS, "ffffff"], TIMEOUT_S)
    assert made(one, Undisturbed(), more).computed == 6
    assert len(parts(store)) == 2

    (first, second), key = parts(store), "0" * 16
    other = first.parents[1] / key
    other.mkdir()
    first.rename(other / first.name)
    second.rename(other / second.name)
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    run.__dict__["keys"] = {"masks": key}
    assert run.plan(Undisturbed(), 0, {}, {}).copied == 0


def test_a_fresh_run_reuses_only_its_own_parts(one, store):
    leave_parts(one, store)
    Path(f"{store}-attempts").unlink()
    fresh = disturbed_run(store, PHOTOS, TIMEOUT_S, Reuse(fresh=True))
    assert fresh.plan(Undisturbed(), 0, {}, {}).computed == 5

    record = made(one, Disturbed("killed"), fresh)

    assert computed(store) == PHOTOS
    assert (record.copied, record.computed) == (4, 1)
    assert parts(store) == []


def test_a_shard_that_another_run_finishes_meanwhile_is_reused(one, store):
    """After the first worker is killed, another run makes the artifact and removes the parts."""
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    shards = shards_of(one, Disturbed("killed"), run)
    plan, plans = shards.plan, []

    def plan_after_other_run(shard):
        plans.append(shard)
        if len(plans) == 2:
            made(one, Undisturbed(), disturbed_run(store, PHOTOS, TIMEOUT_S))
        return plan(shard)

    shards.plan = plan_after_other_run
    record = shards.make(0)
    assert (record.cached, len(plans)) == (True, 3)  # the last one, because the store has an artifact by then
    assert computed(store) == PHOTOS
    assert parts(store) == []


class OnLostNodes(PoolRunner):
    """A runner all of whose workers die because their machines are lost."""

    def run(self, job):
        try:
            return super().run(job)
        except WorkerError as error:
            raise NodeLostError("the machine second of its worker was lost") from error


def made_on_lost_nodes(pool, stage, run):
    return StageShards(run, Ledger(run.photos, 1), stage, OnLostNodes(pool, run.config), {}).make(0)


def test_lost_machines_cost_no_attempt_and_no_kept_row(one, store, caplog):
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    record = made_on_lost_nodes(one, Disturbed("killed"), run)
    assert computed(store) == PHOTOS
    assert (record.copied, record.computed) == (4, 1)
    line = "masks shard 0: the machine second of its worker was lost; another worker makes the shard"
    assert caplog.messages == [line] * 2


def test_the_fourth_lost_machine_fails_the_attempt(one, store):
    run = disturbed_run(store, PHOTOS, TIMEOUT_S)
    with pytest.raises(WorkerError, match=r"^4 machines were lost while they made the shard$"):
        made_on_lost_nodes(one, Disturbed("killed", attempts_with_part=0), run)
    assert computed(store) == ["a"] * 4  # a loss costs no attempt, although no row was kept


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_shard_that_takes_ten_times_its_time_limit_is_made_in_one_attempt(one, store, tmp_path):
    photos = [f"{number:04d}" for number in range(3000)]
    seconds_per_row, timeout_s = 0.01, 3.0
    run = disturbed_run(store, photos, timeout_s)
    started = time.monotonic()

    record = made(one, Slow(seconds_per_row), run)

    assert time.monotonic() - started > 10 * timeout_s
    assert table(run, record).equals(undisturbed_table(one, tmp_path, photos))
    assert parts(store) == []
