"""A shard that several worker processes make together. If one of them fails, or none makes progress, all are ended."""

import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from time import monotonic
from typing import Any

from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import JointStage
from clipes_core.errors import ClipesError, StoppedError, WorkerError

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0  # time for the other processes to notice that one has failed


def make_together(job: ShardJob, pool: WorkerPool, timeout_s: float) -> ShardRecord:
    """Make a shard with as many processes of a pool as the stage requests.

    Args:
        job: job of a joint stage.
        pool: pool whose workers are all idle, and which nothing else uses during the call.
        timeout_s: time after which a job that has counted no further row is stopped [s].

    Raises:
        WorkerError: a process died or ran out of memory, or no row was counted for `timeout_s`.
        Exception: whatever the stage raises.
    """
    assert isinstance(job.stage, JointStage)
    processes = job.stage.processes(job, pool.devices)
    pool.counters.reset(job.stage.name)
    pool.renew()  # free the memory of CLIP, which is no longer needed
    try:
        with tempfile.TemporaryDirectory(prefix="clipes-meeting-") as folder:
            return _made(job.together(processes, (Path(folder) / "meeting").as_uri()), pool, timeout_s)
    finally:
        pool.renew()


def _made(job: ShardJob, pool: WorkerPool, timeout_s: float) -> ShardRecord:
    """Run every process's share of a job; if one process fails, end the others and raise the original error."""
    with ThreadPoolExecutor(job.processes, thread_name_prefix="joint work") as threads:
        ranks: list[Future[Any]] = [threads.submit(_in_worker, pool, make_shard, job)]
        ranks += [threads.submit(_in_worker, pool, _assist, job, rank) for rank in range(1, job.processes)]
        try:
            ended = _ended(job, pool, ranks, timeout_s)
        finally:
            if wait(ranks, timeout=0).not_done:
                wait(ranks, timeout=GRACE_SECONDS)
                pool.stop_calls()
    failures = [failure for rank in (*ended, *ranks) if (failure := rank.exception())]
    if failures:
        raise min(failures, key=_rank_of_failure)
    return ranks[0].result()


def _rank_of_failure(failure: BaseException) -> int:
    """Return a rank that is lowest for the failure that says most about the cause.

    When a process fails, the others are stopped, or they report torch's error about the lost connection. Their errors
    may arrive before the error of the process that failed.
    """
    if isinstance(failure, StoppedError):
        return 2
    return 0 if isinstance(failure, ClipesError) else 1


def _in_worker(pool: WorkerPool, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in an idle worker, without a time limit, and return its result."""
    with pool.idle_worker(timeout_s=None) as start:
        return start(function, *args).result()


def _assist(job: ShardJob, rank: int) -> None:
    """Run one process's share of a joint shard, inside its worker."""
    assert isinstance(job.stage, JointStage)
    job.stage.assist(job, rank)


def _ended(job: ShardJob, pool: WorkerPool, ranks: list[Future[Any]], timeout_s: float) -> set[Future[Any]]:
    """Wait until all processes have ended or one has failed, and return the calls that have ended.

    Raises:
        WorkerError: no row was counted for `timeout_s`.
    """
    counted, moved = pool.counters.count(job.stage.name), monotonic()
    while True:
        ended, running = wait(ranks, timeout=POLL_SECONDS, return_when=FIRST_EXCEPTION)
        if not running or any(rank.exception() for rank in ended):
            return ended
        if pool.counters.count(job.stage.name) != counted:
            counted, moved = pool.counters.count(job.stage.name), monotonic()
        if monotonic() - moved > timeout_s:
            pool.stop_calls()
            raise WorkerError(f"no step for {timeout_s:g} s: stopped; raise execution.shard_timeout_s")
