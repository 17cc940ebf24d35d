"""Trainings of a tiny network on the masks of a few photos, in one or several real worker processes."""

import math
import shutil
import signal
from pathlib import Path

import pytest
from pebble import ProcessFuture
from support.frames import project_frames
from support.small_runs import TINY_NETWORK
from support.small_trainings import failed_attempt, killer, result_of, same_weights, training_work

from clipes_core.errors import StageError, WorkerError

CONFIGS = TINY_NETWORK.parent
EVEN, RUNAWAY = str(CONFIGS / "even.py"), str(CONFIGS / "runaway.py")
ATOL = 2e-5  # sums in another order; measured: 5e-7 in the loss, 7e-7 in the weights after thirty steps


def test_two_processes_train_like_one_and_a_dead_one_ends_the_other(small):
    run = small.prepared(train={"mmseg_config": EVEN})
    with training_work(run) as work:
        record = work.make(0)
    expected = result_of(run, record)
    shutil.rmtree(Path(record.uri).parent)

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
    run = small.prepared(train={"iterations": 3}, execution={"max_failure_rate": 0.1})
    with training_work(run) as work:
        path.write_bytes(b"no photo")
        try:
            with pytest.raises(
                StageError, match=r"^1 of 5 photos are unusable, more than .+ 0\.1 permits; the first: b: "
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
