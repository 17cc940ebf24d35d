"""Runs on a Ray cluster whose shards are made at the same time, as the scheduler makes them, but without Prefect."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from support.small_runs import stage_shards_of

from clipes.tasks.execution.runner import Runner
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun

THREADS = 4  # more than workers, so that a worker that joins gets work
PHOTOS, SHARDS = 24, 8
RAY = {"kind": "ray", "wait_s": 60}


def make_in_parallel(runner: Runner, run: PreparedRun) -> Ledger:
    """Make or reuse all shards of a run with an open runner, several of a stage at a time, and return the ledger."""
    ledger = Ledger(run.photos, 1)
    with ThreadPoolExecutor(THREADS) as threads:
        for stage_shards in stage_shards_of(run, ledger, runner):
            stage = stage_shards.stage
            for shard in run.shards(stage):
                ledger.planned(stage.name, shard)
                ledger.started(stage.name, shard, 1)
            for record in threads.map(stage_shards.make, run.shards(stage)):
                ledger.finished(record, 1)
    return ledger


def artifact_uris(store: str, *stages: str) -> list[str]:
    """Return the URIs of the artifacts of some stages that a store has now."""
    fs, folder = url_to_fs(store, use_listings_cache=False)
    found = [path for stage in stages for path in fs.glob(f"{folder}/artifacts/{stage}/*/*.parquet")]
    return [fs.unstrip_protocol(path) for path in found]


def wait_for_artifact(run: PreparedRun, making: Future[Ledger], stage: str = "cams") -> None:
    """Wait until the first artifact of a stage exists, while a thread makes the shards of a run."""
    while not artifact_uris(run.store.uri, stage):
        assert not making.done(), making.exception()
        time.sleep(0.05)


def wait_for_hanging_worker(store: str, runner: Runner, making: Future[ShardRecord]) -> int:
    """Wait until a worker hangs in a shard of the stage `Disturbed`; return the id of its process, and forget it.

    The worker has kept two rows then, and has reported them.

    Args:
        store: path of the store, or `marks` of the stage.
        runner: runner of the worker.
        making: thread that makes the shard.
    """
    while not (started := list(Path(store).parent.glob(f"{Path(store).name}-hangs-*"))):
        assert not making.done(), making.exception()
        time.sleep(0.05)
    (file,) = started
    while runner.rows("masks") != 2:  # the worker reports each second
        assert not making.done(), making.exception()
        time.sleep(0.05)
    file.unlink()
    return int(file.name.rpartition("-")[2])


def artifacts_of(run: PreparedRun, ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Return name of an artifact of cams and masks -> its rows. The name contains the digest of the inputs."""
    records = [record for stage in ("cams", "masks") for record in ledger.records(stage)]
    return {
        f"{record.stage}/{record.uri.rpartition('/')[2]}": list(run.store.read_rows(record.uri)) for record in records
    }
