from support.ledger_records import finished, record

from clipes.tasks.plan.jobs import ShardCost
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.stage_summary import StageSummary, summaries
from clipes_core.errors import StageError, UpstreamError


def test_a_summary_adds_up_the_counts_of_a_stage():
    ledger = Ledger(100, 1)
    finished(ledger, record(0, cached=True, computed=0, seconds=0.0))
    finished(ledger, record(1, images=8, copied=5, computed=3))
    finished(ledger, record(2, images=7, computed=7, seconds=0.5))
    ledger.started("cams", 3, 1)
    ledger.failed("cams", 3, 1, StageError("no"))

    summary = summaries(ledger, ["texts", "cams"])["cams"]

    assert (summary.images, summary.shards) == (25, 4)
    assert (summary.cached_shards, summary.computed_shards, summary.failed_shards) == (1, 2, 1)
    assert (summary.copied_rows, summary.computed_rows) == (5, 10)
    assert summary.busy_seconds == 2.5
    assert summaries(ledger, ["texts", "masks"]) == {}


def test_a_stage_without_artifacts_counts_only_its_shards():
    ledger = Ledger(100, 1)
    for shard, failure in enumerate([StageError("no"), UpstreamError("not run")]):
        ledger.planned("masks", shard)
        ledger.failed("masks", shard, 1, failure)
    ledger.planned("masks", 2)

    (summary,) = summaries(ledger, ["masks"]).values()

    counts = {"images": 0, "shards": 3, "cached_shards": 0, "computed_shards": 0, "failed_shards": 1}
    rows = {"copied_rows": 0, "computed_rows": 0, "busy_seconds": 0.0, "peak_memory_mib": 0}
    times = {"seconds_per_row": None, "cpu_seconds_per_row": None, "peak_gpu_memory_mib": None}
    assert summary == StageSummary(**counts, **rows, **times, wall_seconds=summary.wall_seconds)


def test_the_memory_of_a_stage_is_that_of_its_largest_worker():
    ledger = Ledger(100, 1)
    for shard, memory in enumerate([700, 900, 0]):
        finished(ledger, record(shard, cost=ShardCost(peak_memory_mib=memory, peak_gpu_memory_mib=memory // 2 or None)))
    finished(ledger, record(stage="masks", cost=ShardCost(peak_memory_mib=5000)))
    summary = summaries(ledger, ["cams"])["cams"]
    assert (summary.peak_memory_mib, summary.peak_gpu_memory_mib) == (900, 450)


def test_summaries_are_in_the_requested_order():
    ledger = Ledger(100, 1)
    for stage in ("masks", "cams"):
        finished(ledger, record(stage=stage))
    assert list(summaries(ledger, ["cams", "mask_scores", "masks"])) == ["cams", "masks"]


def test_the_time_of_a_row_leaves_out_the_first_shard_of_each_worker():
    ledger = Ledger(100, 1)
    finished(ledger, record(0, cost=ShardCost(10, 30.0, 20.0)))
    finished(ledger, record(1, cost=ShardCost(10, 2.0, 1.0, warm=True)))
    finished(ledger, record(2, images=30, computed=30, cost=ShardCost(30, 6.0, 1.0, warm=True)))
    finished(ledger, record(3, copied=5, computed=5, cost=ShardCost(0, 9.0, warm=True)))
    summary = summaries(ledger, ["cams"])["cams"]
    assert summary.seconds_per_row == 8.0 / 40
    assert summary.cpu_seconds_per_row == 2.0 / 40


def test_the_time_of_a_row_is_that_of_the_first_shards_if_there_are_no_others():
    ledger = Ledger(100, 1)
    finished(ledger, record(0, cost=ShardCost(10, 30.0, 20.0)))
    assert summaries(ledger, ["cams"])["cams"].seconds_per_row == 3.0


def test_cached_shards_have_the_times_of_the_run_that_made_them():
    ledger = Ledger(100, 1)
    finished(ledger, record(0, cached=True, computed=0, seconds=0.0, cost=ShardCost(10, 4.0, 3.0)))
    finished(ledger, record(1, cached=True, computed=0, seconds=0.0))  # made by an earlier version of clipes
    summary = summaries(ledger, ["cams"])["cams"]
    assert (summary.seconds_per_row, summary.cpu_seconds_per_row) == (0.4, 0.3)
    assert summary.busy_seconds == 0
