"""Let several worker processes share one job. If one of them fails, or if none makes progress, end all of them."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Any, Protocol

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.stage import JointStage
from clipes.tasks.runs.ledger import reason_of
from clipes_core.errors import ClipesError, StoppedError, WorkerError

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0  # time that the other processes have to notice that one process has failed

logger = logging.getLogger(__name__)


class StepCounts(Protocol):
    """Counts of the steps of joint stages."""

    def count(self, stage: str) -> int:
        """Return how many steps of a stage the running calls have counted."""


class Result(Protocol):
    """The result of a call in a worker."""

    def result(self) -> Any:
        """Wait for the end of the call. Return its result, or raise its error."""


class JointPool(Protocol):
    """A pool whose workers can share a job."""

    @property
    def counters(self) -> StepCounts:
        """The counts of the steps."""

    @property
    def devices(self) -> Sequence[str]:
        """The device of each worker that can take part. Workers with equal devices share a device."""

    def gathered(self, processes: int) -> AbstractContextManager[str]:
        """Let some workers do nothing else during the block, and yield the URL at which they find each other."""

    def joint_worker(self, rank: int) -> AbstractContextManager[Callable[..., Result]]:
        """Wait for the worker of a rank, and yield a function that starts one call in this worker, without a limit."""

    def stop_calls(self) -> None:
        """End the busy workers. Threads that wait for their results get a StoppedError."""


@contextmanager
def joint_work(job: ShardJob, pool: JointPool, timeout_s: float) -> Iterator[ShardJob]:
    """Let several processes share a job. The caller starts the first process in the block; clipes starts the others.

    The block gets a copy of the job, with the number of processes and the URI through which they find each other:

        with joint_work(job, pool, timeout_s) as shared, pool.joint_worker(rank=0) as start:
            return start(make_shard, shared).result()

    Args:
        job: job of a joint stage.
        pool: pool of the workers. All workers must be idle. During the block, nothing else may use the pool.
        timeout_s: longest time without progress [s]. If no process counts a step for this time, all are stopped.

    Raises:
        WorkerError: a process died or ran out of memory, or no step was counted for `timeout_s`.
        Exception: an error of the stage. If several processes fail, the error that shows the cause best is raised, and
            the other errors are logged.
    """
    assert isinstance(job.stage, JointStage)
    processes = job.stage.processes(job, pool.devices)
    with pool.gathered(processes) as rendezvous_url:
        shared = job.for_processes(processes, rendezvous_url)
        with _assisted(shared, pool, timeout_s):
            yield shared


@contextmanager
def _assisted(job: ShardJob, pool: JointPool, timeout_s: float) -> Iterator[None]:
    """Start the assisting processes, watch all processes, and raise the error that shows the cause of a failure."""
    failures: list[BaseException] = []  # in the order in which they arrived
    over = threading.Event()
    with ThreadPoolExecutor(job.processes, thread_name_prefix="joint work") as threads:
        assistants: list[Future[None]] = []
        watcher = threads.submit(_watch, job, pool, timeout_s, failures, over)
        try:
            for rank in range(1, job.processes):
                assistants.append(threads.submit(_assist, pool, job, rank, failures))
            yield
        except BaseException as exc:  # it is raised below, unless another failure shows the cause
            failures.append(exc)
        finally:
            wait(assistants)  # if a process has failed, _watch ends the others
            over.set()
    watcher.result()  # raises an error of _watch itself
    if failures:
        cause = min(failures, key=_rank_of_failure)
        for other in failures:
            if other is not cause and isinstance(other, Exception) and not isinstance(other, StoppedError):
                logger.warning("%s: another process failed as well: %s", job.stage.name, reason_of(other))
        raise cause


def _rank_of_failure(failure: BaseException) -> int:
    """Return the rank of a failure: 0 (an interruption) to 4 (a StoppedError). The lowest rank shows the cause best.

    When one process fails, the other processes are stopped, or they lose the connection and torch raises a
    RuntimeError in them. These errors may arrive before the error of the process that failed first.
    """
    ranks = {StoppedError: 4, ClipesError: 1, RuntimeError: 3, Exception: 2}  # the first class that fits decides
    return next((rank for kind, rank in ranks.items() if isinstance(failure, kind)), 0)


def _assist(pool: JointPool, job: ShardJob, rank: int, failures: list[BaseException]) -> None:
    """Let an idle worker do share number `rank` of the job. If the worker fails, add its error to `failures`."""
    assert isinstance(job.stage, JointStage)
    try:
        with pool.joint_worker(rank) as start:
            start(job.stage.assist, job, rank).result()
    except BaseException as exc:
        failures.append(exc)


def _watch(
    job: ShardJob, pool: JointPool, timeout_s: float, failures: list[BaseException], over: threading.Event
) -> None:
    """End all processes if one fails, or if no step is counted for `timeout_s`. Return when `over` is set."""
    counted, moved = pool.counters.count(job.stage.name), monotonic()
    while not (failures or over.wait(POLL_SECONDS)):
        if pool.counters.count(job.stage.name) != counted:
            counted, moved = pool.counters.count(job.stage.name), monotonic()
        if monotonic() - moved > timeout_s:
            failures.append(
                WorkerError(f"stopped after {timeout_s:g} s without a step: raise execution.shard_timeout_s")
            )
            break
    else:
        over.wait(GRACE_SECONDS)
    while not over.is_set():
        pool.stop_calls()
        over.wait(POLL_SECONDS)  # and again, because a call may have been about to start
