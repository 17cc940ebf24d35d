"""Make one shard with several worker processes. If one of them fails, or if none makes progress, end all of them."""

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
GRACE_SECONDS = 30.0  # time that the other processes have to notice that one process has failed


def make_together(job: ShardJob, pool: WorkerPool, timeout_s: float) -> ShardRecord:
    """Make a shard with as many processes of a pool as the stage requests.

    Args:
        job: job of a joint stage.
        pool: pool of the workers. All of them must be idle, and only this call may use the pool while it runs.
        timeout_s: time limit without progress [s]. The job is stopped if its processes count no step for this time.

    Raises:
        WorkerError: a process died or ran out of memory, or no step was counted for `timeout_s`.
        Exception: whatever the stage raises.
    """
    assert isinstance(job.stage, JointStage)
    processes = job.stage.processes(job, pool.devices)
    pool.counters.reset(job.stage.name)
    pool.renew()  # free the memory of CLIP, which the joint work does not need
    try:
        with tempfile.TemporaryDirectory(prefix="clipes-rendezvous-") as folder:
            return _made(job.for_processes(processes, (Path(folder) / "rendezvous").as_uri()), pool, timeout_s)
    finally:
        pool.renew()


def _made(job: ShardJob, pool: WorkerPool, timeout_s: float) -> ShardRecord:
    """Do the share of each process. If one fails, end the others and raise the error that shows the cause."""
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
    """Rank a failure by how much it says about the cause, from 0 (an error of clipes) to 2 (a StoppedError).

    When one process fails, the other processes are stopped, or torch raises an error in them because the connection is
    lost. These errors may arrive before the error of the process that failed first.
    """
    if isinstance(failure, StoppedError):
        return 2
    return 0 if isinstance(failure, ClipesError) else 1


def _in_worker(pool: WorkerPool, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in an idle worker, without a time limit, and return its result."""
    with pool.idle_worker(timeout_s=None) as start:
        return start(function, *args).result()


def _assist(job: ShardJob, rank: int) -> None:
    """Do this worker's share of a joint stage. Every worker except the first calls this."""
    assert isinstance(job.stage, JointStage)
    job.stage.assist(job, rank)


def _ended(job: ShardJob, pool: WorkerPool, ranks: list[Future[Any]], timeout_s: float) -> set[Future[Any]]:
    """Wait until the calls in all processes have ended, or one call has failed; return the calls that have ended.

    Raises:
        WorkerError: no step was counted for `timeout_s`.
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
            raise WorkerError(f"stopped after {timeout_s:g} s without a step: raise execution.shard_timeout_s")
