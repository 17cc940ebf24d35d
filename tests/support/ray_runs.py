"""Runs on a Ray cluster whose shards are made at the same time, as the scheduler makes them, but without Prefect."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from fsspec.core import url_to_fs
from support.small_runs import stage_shards_of

from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes_core.errors import WorkerError

MOST_FAILURES = 6
THREADS = 4  # more than workers, so that a worker that joins gets work
PHOTOS, SHARDS = 24, 8
RAY = {"kind": "ray", "wait_s": 60}


def make_in_parallel(runner: Runner, run: PreparedRun, failures: list[WorkerError] | None = None) -> Ledger:
    """Make or reuse all shards of a run, several of a stage at the same time, and return the ledger.

    Args:
        runner: an open runner.
        run: the run.
        failures: list to which the errors of failed attempts are added; None if no attempt may fail.
    """
    ledger = Ledger(run.photos, 1)

    def make(stage_shards: StageShards, shard: int) -> ShardRecord:
        while True:
            try:
                return stage_shards.make(shard)
            except WorkerError as error:
                if failures is None or len(failures) > MOST_FAILURES:
                    raise
                failures.append(error)

    with ThreadPoolExecutor(THREADS) as threads:
        for stage_shards in stage_shards_of(run, ledger, runner):
            stage = stage_shards.stage
            for shard in run.shards(stage):
                ledger.planned(stage.name, shard)
                ledger.started(stage.name, shard, 1)
            for record in threads.map(partial(make, stage_shards), run.shards(stage)):
                ledger.finished(record, 1)
    return ledger


def wait_for_artifact(run: PreparedRun, making: Future[Ledger], stage: str = "cams") -> None:
    """Wait until the first artifact of a stage exists, while a thread makes the shards of a run."""
    fs, folder = url_to_fs(f"{run.store.uri}/artifacts/{stage}", use_listings_cache=False)
    while not fs.glob(f"{folder}/*/*.parquet"):
        assert not making.done(), making.exception()
        time.sleep(0.05)


def artifacts_of(run: PreparedRun, ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Return name of an artifact of cams and masks -> its rows. The name contains the digest of the inputs."""
    records = [record for stage in ("cams", "masks") for record in ledger.records(stage)]
    return {
        f"{record.stage}/{record.uri.rpartition('/')[2]}": list(run.store.read_rows(record.uri)) for record in records
    }
