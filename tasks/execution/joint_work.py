"""A shard that several worker processes make together: the first failure ends them all, a standstill counts as one."""

import tempfile
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from time import monotonic
from typing import Any

from clipes.tasks.execution.make_shard import make_shard
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.stage import JointStage
from clipes_core.errors import ClipesError, WorkerError

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0  # until the other processes have noticed that one has failed


def make_together(job: ShardJob, pool: WorkerPool, timeout_s: float) -> ShardRecord:
    """Make a shard with as many processes of a pool as the stage wants.

    Args:
        job: of a joint stage.
        pool: all its workers are idle, and it is used for nothing else meanwhile.
        timeout_s: a job that counts no row for so long is stopped.

    Raises:
        WorkerError: a process died, ran out of memory, or nothing was counted for `timeout_s`.
        Exception: whatever the stage raises.
    """
    assert isinstance(job.stage, JointStage)
    processes = job.stage.processes(job, pool.devices)
    pool.counters.reset(job.stage.name)
    pool.renew()  # CLIP, and the memory it holds, is not needed any more
    try:
        with tempfile.TemporaryDirectory(prefix="clipes-meeting-") as folder:
            return _made(job.together(processes, str(Path(folder) / "meeting")), pool, timeout_s)
    finally:
        pool.renew()


def _made(job: ShardJob, pool: WorkerPool, timeout_s: float) -> ShardRecord:
    """Call all processes; if one fails, end the others and raise the cause."""
    with ThreadPoolExecutor(job.processes, thread_name_prefix="joint work") as threads:
        ranks: list[Future[Any]] = [threads.submit(pool.run, make_shard, job, timeout_s=None)]
        ranks += [threads.submit(pool.run, _assist, job, rank, timeout_s=None) for rank in range(1, job.processes)]
        try:
            ended = _ended(job, pool, ranks, timeout_s)
        finally:
            if wait(ranks, timeout=0).not_done:
                wait(ranks, timeout=GRACE_SECONDS)
                pool.stop_calls()
    failures = [failure for rank in (*ended, *ranks) if (failure := rank.exception())]
    if failures:  # a process that lost another one says no more than that, in torch's words, and may see it first
        raise next((failure for failure in failures if isinstance(failure, ClipesError)), failures[0])
    return ranks[0].result()


def _assist(job: ShardJob, rank: int) -> None:
    """Do a process's part, in a worker."""
    assert isinstance(job.stage, JointStage)
    job.stage.assist(job, rank)


def _ended(job: ShardJob, pool: WorkerPool, ranks: list[Future[Any]], timeout_s: float) -> set[Future[Any]]:
    """Wait until all have ended, or one has failed, and return those that have.

    Raises:
        WorkerError: nothing was counted for `timeout_s`.
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
