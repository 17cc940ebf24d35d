"""Let several worker processes share one job. If one of them fails, or if none makes progress, end all of them."""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.stage import JointStage
from clipes_core.errors import ClipesError, StoppedError, WorkerError

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0  # time that the other processes have to notice that one process has failed


@contextmanager
def joint_work(job: ShardJob, pool: WorkerPool, timeout_s: float) -> Iterator[ShardJob]:
    """Let further worker processes assist with a job during the block; the caller runs the first process in the block.

    The block gets the job with the number of processes and the address at which they meet:

        with joint_work(job, pool, timeout_s) as shared, pool.idle_worker(timeout_s=None) as start:
            return start(make_shard, shared).result()

    Args:
        job: job of a joint stage.
        pool: pool of the workers. All of them must be idle, and only this call and its block may use the pool.
        timeout_s: time limit without progress [s]. All processes are stopped if none counts a step for this time.

    Raises:
        WorkerError: a process died or ran out of memory, or no step was counted for `timeout_s`.
        Exception: whatever the stage raises in the process that failed first.
    """
    assert isinstance(job.stage, JointStage)
    processes = job.stage.processes(job, pool.devices)
    pool.counters.reset(job.stage.name)
    pool.renew()  # free the memory of CLIP, which the joint work does not need
    try:
        with tempfile.TemporaryDirectory(prefix="clipes-rendezvous-") as folder:
            shared = job.for_processes(processes, (Path(folder) / "rendezvous").as_uri())
            with _assisted(shared, pool, timeout_s):
                yield shared
    finally:
        pool.renew()


@contextmanager
def _assisted(job: ShardJob, pool: WorkerPool, timeout_s: float) -> Iterator[None]:
    """Start the assisting processes, watch all processes, and raise the error that shows the cause of a failure."""
    failures: list[BaseException] = []  # in the order in which they arrived
    over = threading.Event()

    def note(ended: Future[None]) -> None:
        if failure := ended.exception():
            failures.append(failure)

    with ThreadPoolExecutor(job.processes, thread_name_prefix="joint work") as threads:
        assistants = [threads.submit(_assist_in_worker, pool, job, rank) for rank in range(1, job.processes)]
        watcher = threads.submit(_watch, job, pool, timeout_s, failures, over)
        for future in (watcher, *assistants):
            future.add_done_callback(note)
        try:
            yield
            wait(assistants)
        except BaseException as failure:  # it is raised below, unless another failure shows the cause
            failures.append(failure)
            if wait(assistants, timeout=GRACE_SECONDS).not_done:
                pool.stop_calls()
        finally:
            over.set()
    if failures:
        raise min(failures, key=_rank_of_failure)


def _rank_of_failure(failure: BaseException) -> int:
    """Rank a failure by how much it says about the cause, from 0 (an error of clipes) to 2 (a StoppedError).

    When one process fails, the other processes are stopped, or torch raises an error in them because the connection is
    lost. These errors may arrive before the error of the process that failed first.
    """
    if isinstance(failure, StoppedError):
        return 2
    return 0 if isinstance(failure, ClipesError) else 1


def _assist_in_worker(pool: WorkerPool, job: ShardJob, rank: int) -> None:
    with pool.idle_worker(timeout_s=None) as start:
        start(_assist, job, rank).result()


def _assist(job: ShardJob, rank: int) -> None:
    """Do this worker's share of a joint stage. Every worker except the first calls this."""
    assert isinstance(job.stage, JointStage)
    job.stage.assist(job, rank)


def _watch(
    job: ShardJob, pool: WorkerPool, timeout_s: float, failures: list[BaseException], over: threading.Event
) -> None:
    """Stop all processes if one has failed or none makes progress; return when the work is over.

    Raises:
        WorkerError: no step was counted for `timeout_s`.
    """
    counted, moved = pool.counters.count(job.stage.name), monotonic()
    while not over.wait(POLL_SECONDS):
        if failures:
            if not over.wait(GRACE_SECONDS):
                pool.stop_calls()
            return
        if pool.counters.count(job.stage.name) != counted:
            counted, moved = pool.counters.count(job.stage.name), monotonic()
        if monotonic() - moved > timeout_s:
            pool.stop_calls()
            raise WorkerError(f"stopped after {timeout_s:g} s without a step: raise execution.shard_timeout_s")
