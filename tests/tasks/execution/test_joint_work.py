"""Joint work in real worker processes: of a toy stage, and trainings of a tiny network on the masks of a few photos."""

import math
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pebble import ProcessFuture
from support.frames import project_frames
from support.pool_calls import worker_pool
from support.small_runs import TINY_NETWORK
from support.small_trainings import failed_attempt, killer, result_of, same_weights, training_work
from support.toy_joint_stage import TOY_JOINT, Act, JointJob, perform_first

from clipes.tasks.execution.joint_work import joint_work
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes_core.errors import StageError, StoppedError, WorkerError

CONFIGS = TINY_NETWORK.parent
EVEN, RUNAWAY = str(CONFIGS / "even.py"), str(CONFIGS / "runaway.py")
ATOL = 2e-5  # sums in another order; measured: 5e-7 in the loss, 7e-7 in the weights after thirty steps


@pytest.fixture
def two() -> Iterator[WorkerPool]:
    """Yield a pool of two workers that counts the steps of the toy stage."""
    with worker_pool([WorkerSlot("cpu", 1)] * 2, Counters((TOY_JOINT.name,))) as pool:
        yield pool


def share(pool: WorkerPool, first: Act, assistant: Act, timeout_s: float = 60.0) -> str:
    """Let two processes of a pool perform their acts, and return the result of the first."""
    job = JointJob(first, assistant, TOY_JOINT)
    with joint_work(job, pool, timeout_s) as shared, pool.idle_worker(timeout_s=None) as start:
        return start(perform_first, shared).result()


def test_the_result_is_that_of_the_first_process_once_all_have_ended(two):
    began = time.monotonic()
    assert share(two, Act(0), Act(2)) == "done"
    assert time.monotonic() - began >= 2


@pytest.mark.parametrize(
    ("first", "assistant", "cause"),
    [
        (Act(0, RuntimeError("connection closed by peer")), Act(1.5, AttributeError("a bug")), "a bug"),
        (Act(1.5, RuntimeError("connection closed by peer")), Act(0, StageError("no photo")), "no photo"),
        (Act(1.5, StageError("no photo")), Act(0, RuntimeError("connection closed by peer")), "no photo"),
        (Act(0), Act(1, AttributeError("a bug")), "a bug"),
    ],
)
def test_the_error_that_shows_the_cause_is_raised_and_the_other_is_logged(two, caplog, first, assistant, cause):
    with pytest.raises((AttributeError, StageError), match=cause):
        share(two, first, assistant)
    logged = "toy_joint: another process failed as well: RuntimeError: connection closed by peer"
    assert (logged in caplog.messages) == (first.error is not None)


@pytest.mark.parametrize(
    ("first", "assistant"), [(Act(60), Act(0, StageError("no"))), (Act(0, StageError("no")), Act(60))]
)
def test_a_failed_process_ends_the_others_after_a_grace_period(two, monkeypatch, first, assistant):
    monkeypatch.setattr("clipes.tasks.execution.joint_work.GRACE_SECONDS", 0.1)
    began = time.monotonic()
    with pytest.raises(StageError, match=r"^no$"):
        share(two, first, assistant)
    assert time.monotonic() - began < 60
    assert share(two, Act(0), Act(0)) == "done"  # both workers are idle again


def test_processes_that_count_no_step_are_stopped(two):
    with pytest.raises(WorkerError, match=r"^stopped after 2 s without a step: raise execution\.shard_timeout_s$"):
        share(two, Act(60), Act(60), timeout_s=2)


def test_a_process_that_starts_after_the_others_were_stopped_is_stopped_too(two):
    """Another call occupies one of the two workers at first."""
    with ThreadPoolExecutor(1) as thread:
        began = threading.Event()

        def occupy() -> None:
            with suppress(StoppedError), two.idle_worker(timeout_s=None) as start:
                future = start(time.sleep, 5)
                began.set()
                future.result()

        occupied = thread.submit(occupy)
        began.wait()
        with pytest.raises(WorkerError, match=r"^stopped after 1 s without a step"):
            share(two, Act(60), Act(60), timeout_s=1)
        occupied.result()


def test_closing_the_pool_ends_joint_work(two):
    with ThreadPoolExecutor(1) as thread:
        work = thread.submit(share, two, Act(60), Act(60))
        time.sleep(2)
        two.close()
        assert isinstance(work.exception(timeout=30), StoppedError)


def test_an_interruption_takes_precedence_over_the_errors_of_the_processes(two):

    def interrupted() -> None:
        time.sleep(3)  # the error of the assisting process arrives first
        raise KeyboardInterrupt

    job = JointJob(Act(0), Act(0, AttributeError("a bug")), TOY_JOINT)
    with pytest.raises(KeyboardInterrupt), joint_work(job, two, 60.0):
        interrupted()


def test_two_processes_train_like_one_and_a_dead_one_ends_the_other(small):
    run = small.prepared(train={"mmseg_config": EVEN})
    with training_work(run) as work:
        record = work.make(0)
    expected = result_of(run, record)
    shutil.rmtree(Path(record.uri).parent)

    run = small.prepared(train={"mmseg_config": EVEN}, execution={"gpu_workers": 2})
    with training_work(run, processes=2) as work:
        kill = killer()

        def one_dies():
            kill()
            small.resume()

        with small.blocked():
            error = failed_attempt(work, one_dies)
        result = result_of(run, work.make(0))

    assert isinstance(error, WorkerError)
    assert "-9" in str(error)
    assert (result.facts["processes"], result.facts["resumed_at"]) == (2, 20)
    for row, wanted in zip(result.curve, expected.curve, strict=True):
        assert row == pytest.approx(wanted, abs=ATOL)
    assert same_weights(result, expected, ATOL)


def test_a_loss_of_nan_or_inf_stops_the_training_and_names_the_iteration(small):
    run = small.prepared(train={"mmseg_config": RUNAWAY})
    with training_work(run) as work, pytest.raises(StageError, match=r"^the loss is (nan|inf) at iteration [1-9]\d? "):
        work.make(0)


def test_too_many_unusable_photos_stop_the_training(small):
    path = small.photos.folder / "b.png"
    content = path.read_bytes()
    run = small.prepared(train={"iterations": 3}, execution={"max_failure_rate": 0.1, "tolerated_failures": 0})
    with training_work(run) as work:
        path.write_bytes(b"no photo")
        try:
            with pytest.raises(
                StageError, match=r"^1 of 5 photos are unusable, more than 0, .+=0\.1 and .+; the first: b: "
            ):
                work.make(0)
        finally:
            path.write_bytes(content)


def test_bfloat16_trains_on_a_cpu_and_the_call_waits_in_few_frames(small, monkeypatch):
    run = small.prepared(train={"precision": "bf16", "iterations": 3})
    waits = []

    def wait_for_result(future, *arguments):
        waits.append(project_frames())
        return wait(future, *arguments)

    wait = ProcessFuture.result
    with training_work(run) as work:
        monkeypatch.setattr(ProcessFuture, "result", wait_for_result)
        result = result_of(run, work.make(0))
    assert waits == [["stage_shards.make", "local_runner.run"]]  # docs/architecture.md lists them
    assert result.facts["precision"] == "bf16"
    assert [row["iteration"] for row in result.curve] == [1, 2, 3]
    assert all(math.isfinite(row["loss"]) for row in result.curve)
    assert {str(tensor.dtype) for tensor in result.weights.values()} == {"torch.float32", "torch.int64"}


def test_a_training_without_a_step_within_the_time_limit_is_stopped(small):
    run = small.prepared(execution={"shard_timeout_s": 0.01})  # less time than its process needs to start
    with training_work(run) as work, pytest.raises(WorkerError) as told:
        work.make(0)
    assert str(told.value) == "stopped after 0.01 s without a step: raise execution.shard_timeout_s"


@pytest.mark.slow
def test_a_training_that_hangs_is_stopped_and_resumes(small):
    run = small.prepared(execution={"shard_timeout_s": 45})
    with training_work(run) as work:
        with small.blocked():
            error = failed_attempt(work, killer(signal.SIGSTOP))
        result = result_of(run, work.make(0))
    assert str(error) == "stopped after 45 s without a step: raise execution.shard_timeout_s"
    assert result.facts["resumed_at"] == 20
