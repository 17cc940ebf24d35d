import threading
import time

import pytest
from support.ledger_records import finished, record, reject

from clipes.tasks.runs.failures import check_failure_rate, check_shards
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.record.contents import status_table
from clipes.tasks.runs.stage_summary import summaries
from clipes_core.errors import ErrorKind, StageError, StoppedError, TransientError, UpstreamError


def rows(ledger):
    return status_table(ledger, "/store").to_pylist()


def test_a_shard_is_running_then_completed():
    ledger = Ledger(10, 0)
    ledger.started("cams", 3, 1)
    (running,) = rows(ledger)
    ledger.finished(record(3), 1)
    (completed,) = rows(ledger)

    assert (running["stage"], running["shard"], running["state"], running["artifact"]) == ("cams", 3, "running", "")
    assert completed == {
        "stage": "cams",
        "shard": 3,
        "state": "completed",
        "images": 10,
        "errors": 0,
        "seconds": 2.0,
        "attempt": 1,
        "artifact": "cams-3.parquet",
        "worker": None,
        "reason": None,
    }


def test_a_running_training_shows_its_iterations():
    ledger, steps = Ledger(10, 0), iter((0, 240))
    ledger.started("masks", 0, 1)
    ledger.started("segmenter", 0, 1)
    ledger.set_row_counter("segmenter", lambda: next(steps))
    seen = [[(row["stage"], row["images"]) for row in rows(ledger)] for _ in range(2)]
    assert seen == [[("masks", 0), ("segmenter", 0)], [("masks", 0), ("segmenter", 240)]]
    ledger.finished(record(stage="segmenter", images=600), 1)
    assert rows(ledger)[-1]["images"] == 600


def test_a_cached_shard_has_state_cached():
    ledger = Ledger(10, 0)
    finished(ledger, record(cached=True, computed=0))
    assert [row["state"] for row in rows(ledger)] == ["cached"]


def test_rows_are_sorted_by_stage_and_shard():
    ledger = Ledger(10, 0)
    for stage, shard in (("masks", 1), ("cams", 10), ("cams", 2)):
        ledger.started(stage, shard, 1)
    assert [(row["stage"], row["shard"]) for row in rows(ledger)] == [("cams", 2), ("cams", 10), ("masks", 1)]


def test_a_failed_shard_keeps_its_attempt_and_reason():
    ledger = Ledger(10, 0)
    ledger.started("cams", 0, 2)
    ledger.failed("cams", 0, 2, StageError("the disk is full"))

    (row,) = rows(ledger)
    assert (row["state"], row["attempt"]) == ("failed", 2)
    with pytest.raises(StageError, match=r"^cams shard 0: the disk is full$"):
        check_shards(ledger)


def test_a_task_run_that_never_began_fails_unless_the_shard_is_finished():
    ledger = Ledger(2, 0.5)
    for shard in (0, 1):
        ledger.planned("cams", shard)
    ledger.finished(record(shard=0), 1)
    for shard in (0, 1):
        ledger.could_not_start("cams", shard, ConnectionError("no server"))
    with pytest.raises(StageError, match=r"^cams shard 1: ConnectionError: no server$"):
        check_shards(ledger)


def test_a_shard_that_succeeds_on_retry_has_not_failed():
    ledger = Ledger(10, 0)
    ledger.started("cams", 0, 1)
    ledger.failed("cams", 0, 1, TransientError("later"))
    finished(ledger, record(), attempt=2)

    check_shards(ledger)
    assert [(row["state"], row["attempt"]) for row in rows(ledger)] == [("completed", 2)]


def test_an_incomplete_shard_has_failed_and_keeps_its_artifact():
    ledger = Ledger(10, 1)
    finished(ledger, record(rejects=[reject("a"), reject("b", ErrorKind.NETWORK)]))
    ledger.failed("cams", 0, 1, TransientError("b is network"))

    (row,) = rows(ledger)
    assert (row["state"], row["images"], row["errors"]) == ("failed", 10, 2)
    assert row["artifact"] == "cams-0.parquet"
    with pytest.raises(StageError, match="cams shard 0: b is network"):
        check_shards(ledger)


def test_a_shard_with_a_failed_upstream_is_not_run_and_not_reported():
    ledger = Ledger(10, 0)
    for stage, failure in (("cams", StageError("no")), ("masks", UpstreamError("not run"))):
        ledger.started(stage, 0, 1)
        ledger.failed(stage, 0, 1, failure)

    assert [(row["stage"], row["state"], row["reason"]) for row in rows(ledger)] == [
        ("cams", "failed", "no"),
        ("masks", "not_run", "not run"),
    ]
    assert str(ledger.failure("masks", 0)) == "not run"
    with pytest.raises(StageError, match=r"^cams shard 0: no$"):
        check_shards(ledger)


def test_stopped_shards_are_reported_if_no_other_shard_failed():
    ledger = Ledger(10, 0)
    ledger.started("cams", 0, 1)
    ledger.failed("cams", 0, 1, StoppedError("stopped before it was done"))
    with pytest.raises(StageError, match=r"^cams shard 0: stopped before it was done$"):
        check_shards(ledger)


def test_unfinished_shards_are_not_run_when_the_run_has_ended():
    ledger = Ledger(10, 1)
    finished(ledger, record(0))
    ledger.started("cams", 1, 1)
    ledger.planned("cams", 2)
    ledger.started("cams", 3, 1)
    ledger.failed("cams", 3, 1, StageError("no"))
    ledger.end("not run: the run was stopped")
    assert [(row["state"], row["reason"]) for row in rows(ledger)] == [
        ("completed", None),
        *[("not_run", "not run: the run was stopped")] * 2,
        ("failed", "no"),
    ]


def test_a_shard_is_complete_if_it_has_an_artifact_and_no_failure():
    ledger = Ledger(10, 1)
    assert not ledger.has_complete_artifact("cams", 0)
    finished(ledger, record())
    assert ledger.has_complete_artifact("cams", 0)
    ledger.failed("cams", 0, 1, TransientError("two photos failed"))
    assert not ledger.has_complete_artifact("cams", 0)


def test_a_shard_that_was_computed_twice_counts_once():
    ledger = Ledger(20, 0.05)
    for attempt in (1, 2):
        finished(ledger, record(rejects=[reject("a")]), attempt)
    check_failure_rate(ledger, "cams")
    assert [each.image_id for each in ledger.rejects()] == ["a"]
    assert ledger.finished_rows("cams") == (10, 0)
    finished(ledger, record(cached=True, computed=0), 3)
    assert ledger.finished_rows("cams") == (0, 10)


def test_rows_that_the_next_attempt_computes_again_are_not_finished():
    ledger = Ledger(10, 1)
    finished(ledger, record(rejects=[reject("a"), reject("b", ErrorKind.NETWORK)]))
    assert ledger.finished_rows("cams") == (9, 0)
    finished(ledger, record(copied=9, computed=1, rejects=[reject("a")]), 2)
    assert ledger.finished_rows("cams") == (1, 9)


def test_records_and_rejects_can_be_filtered_by_stage():
    ledger = Ledger(20, 1)
    finished(ledger, record(1, rejects=[reject("b")]))
    finished(ledger, record(0, rejects=[reject("a")]))
    finished(ledger, record(0, "masks", rejects=[reject("c", stage="masks")]))

    assert [each.image_id for each in ledger.rejects()] == ["a", "b", "c"]
    assert [each.image_id for each in ledger.rejects("masks")] == ["c"]
    assert [(each.stage, each.shard) for each in ledger.records()] == [("cams", 0), ("cams", 1), ("masks", 0)]
    assert [each.shard for each in ledger.records("cams")] == [0, 1]
    assert ledger.record("masks", 0).uri == "/store/masks-0.parquet"


def test_finished_rows_are_computed_ones_and_those_of_cached_shards_and_copied_ones():
    ledger = Ledger(30, 1)
    finished(ledger, record(0, cached=True, computed=0))
    finished(ledger, record(1, images=8, copied=5, computed=3))
    finished(ledger, record(0, "masks", copied=1, computed=9))

    assert ledger.finished_rows("cams") == (3, 15)
    assert ledger.finished_rows("masks") == (9, 1)
    assert ledger.finished_rows("mask_scores") == (0, 0)


def test_wall_time_is_from_the_first_start_to_the_last_end():
    ledger = Ledger(100, 1)
    ledger.started("cams", 0, 1)
    time.sleep(0.2)
    ledger.finished(record(0), 1)
    time.sleep(0.3)
    ledger.started("masks", 0, 1)

    found = summaries(ledger, ["cams", "masks"])
    assert 0.2 <= found["cams"].wall_seconds < 0.45
    assert found["masks"].wall_seconds < 0.1


def test_many_threads_may_write_at_once():
    ledger = Ledger(1000, 1)

    def work(first):
        for shard in range(first, 400, 8):
            finished(ledger, record(shard, images=1, rejects=[reject(str(shard))]))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert summaries(ledger, ["cams"]).get("cams") is None or status_table(ledger, "/store").num_rows <= 400
    for thread in threads:
        thread.join()

    summary = summaries(ledger, ["cams"])["cams"]
    assert (summary.images, summary.shards, summary.computed_shards, summary.busy_seconds) == (400, 400, 400, 800.0)
    assert len(ledger.rejects()) == 400


@pytest.mark.parametrize("later", ["cams", "prompt_scores"])
def test_a_photo_that_failed_again_after_embeddings_is_reported_once(later):
    ledger = Ledger(10, 1)
    finished(
        ledger, record(stage="embeddings", rejects=[reject("a", stage="embeddings"), reject("b", stage="embeddings")])
    )
    finished(ledger, record(stage=later, rejects=[reject("a", stage=later)]))
    assert [(each.image_id, each.stage) for each in ledger.rejects()] == [("b", "embeddings"), ("a", later)]
    assert len(ledger.rejects("embeddings")) == 2
