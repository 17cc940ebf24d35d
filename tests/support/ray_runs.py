"""Runs on a Ray cluster whose shards are made at the same time, as the scheduler makes them, but without Prefect."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
from support.small_runs import stage_shards_of

from clipes.tasks.execution.runner import Runner
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun

THREADS = 4  # more than workers, so that a worker that joins gets work
PHOTOS, SHARDS = 24, 8
RAY = {"kind": "ray", "wait_s": 60}


def make_in_parallel(runner: Runner, run: PreparedRun) -> Ledger:
    """Make or reuse all shards of a run, several of a stage at the same time, and return the ledger."""
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


def artifacts_of(run: PreparedRun, ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Return name of an artifact of cams and masks -> its rows. The name contains the digest of the inputs."""
    records = [record for stage in ("cams", "masks") for record in ledger.records(stage)]
    return {
        f"{record.stage}/{record.uri.rpartition('/')[2]}": list(run.store.read_rows(record.uri)) for record in records
    }


def worker_processes() -> list[psutil.Process]:
    """Return the worker processes of clipes on all clusters of this machine."""
    return list(_matching("ray::ShardWorker"))


def _matching(title: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"]
        if command and command[0].startswith(title) and process.info["status"] != psutil.STATUS_ZOMBIE:
            yield process


@contextmanager
def in_thread(function: Any, *args: Any) -> Iterator[Any]:
    """Call a function in a thread, and yield the future of its result."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(function, *args)
