from dataclasses import replace

import pytest

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.ui.stage_tables import LISTED_FAILED, LISTED_SLOWEST, stage_tables
from clipes_core.errors import ErrorKind, StageError

MADE = ShardRecord("cams", 0, "a", 10, cached=False, copied=4, computed=6, seconds=3.0)


@pytest.fixture
def ledger():
    return Ledger(photos=100, max_failure_rate=1)


def finished(ledger, record):
    ledger.planned(record.stage, record.shard)
    ledger.started(record.stage, record.shard, 1)
    ledger.finished(record, 1)


def failed(ledger, shard, failure):
    ledger.planned("cams", shard)
    ledger.started("cams", shard, 1)
    ledger.failed("cams", shard, 1, failure)


def test_the_first_line_adds_up_all_shards(ledger):
    reject = Reject("p", "p.jpg", "cams", ErrorKind.UNDECODABLE, "broken")
    finished(ledger, replace(MADE, rejects=(reject,)))
    finished(ledger, replace(MADE, shard=1, cached=True, copied=0, computed=0, seconds=0.0))
    failed(ledger, 2, StageError("no room"))
    (table,) = stage_tables(ledger)
    total = table.lines[0]
    assert table.stage == "cams"
    assert (total.shard, total.state) == ("all", "1 completed, 1 cached, 1 failed")
    assert (total.shards, total.images, total.errors, total.cached, total.copied) == (3, 20, 1, 1, 4)


def test_each_shard_has_a_line_with_its_numbers_and_reason(ledger):
    finished(ledger, MADE)
    failed(ledger, 7, StageError("no room"))
    failed(ledger, 8, ValueError("odd"))
    lines = {line.shard: line for line in stage_tables(ledger)[0].lines}
    made = lines["000"]
    assert (made.state, made.seconds, made.images_per_s, made.copied, made.reason) == ("completed", 3.0, 2.0, 4, "")
    assert (lines["007"].state, lines["007"].images_per_s, lines["007"].reason) == ("failed", None, "no room")
    assert lines["008"].reason == "ValueError: odd"


def test_only_failed_and_the_slowest_of_many_shards_are_listed(ledger):
    for shard in range(1000):
        finished(ledger, replace(MADE, shard=shard, seconds=float(shard % 500)))
    for shard in range(1000, 1100):
        failed(ledger, shard, StageError("no room"))
    lines = stage_tables(ledger)[0].lines[1:]
    assert [line.shard for line in lines[:LISTED_FAILED]] == [f"{1000 + place}" for place in range(LISTED_FAILED)]
    assert [line.seconds for line in lines[LISTED_FAILED:]] == [499, 499, 498, 498, 497]
    assert len(lines) == LISTED_FAILED + LISTED_SLOWEST


def test_stages_are_listed_in_the_order_they_run(ledger):
    for stage in ("masks", "cams", "manifest"):
        finished(ledger, replace(MADE, stage=stage))
    assert [table.stage for table in stage_tables(ledger)] == ["manifest", "cams", "masks"]


def test_the_workers_are_named_and_counted_on_each_machine(ledger):
    for shard, worker in enumerate(["b/cpu:7", "a/cpu:7", "a/cpu:7", "a/cpu:8", ""]):
        finished(ledger, replace(MADE, shard=shard, worker=worker))
    total, *lines = stage_tables(ledger)[0].lines
    assert total.worker == "2 on a, 1 on b"
    assert [line.worker for line in lines] == ["b/cpu:7", "a/cpu:7", "a/cpu:7", "a/cpu:8", ""]


def test_the_workers_of_a_single_machine_are_only_counted(ledger):
    for shard, worker in enumerate(["cpu:7", "cpu:8"]):
        finished(ledger, replace(MADE, shard=shard, worker=worker))
    assert stage_tables(ledger)[0].lines[0].worker == "2"
