import numpy as np
import pytest
import torch

from clipes_core.device import JOBS_AT_ONCE, Stream, download, finish, upload, with_float64

CPU = torch.device("cpu")
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def job(name, log, steps=3):
    """Return a job that logs its steps."""
    for step in range(1, steps):
        log.append(f"{name}{step}")
        yield
    log.append(f"{name}{steps}")
    return name


def streamed(device, jobs):
    stream, results = Stream(device), []
    for each in jobs:
        results += stream.add(each)
    return [*results, *stream.rest()]


def test_a_cpu_copies_nothing():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    tensor = upload(array, CPU)
    (back,) = download(tensor)()
    assert np.shares_memory(back, array)
    assert with_float64(tensor) is tensor


def test_any_array_can_be_uploaded():
    mirrored = np.arange(6)[::-1]
    assert upload(mirrored, CPU).tolist() == [5, 4, 3, 2, 1, 0]


def test_a_cpu_runs_one_job_after_the_other():
    log = []
    assert streamed("cpu", (job(name, log) for name in "abc")) == ["a", "b", "c"]
    assert log == ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"]


def test_a_gpu_gets_the_work_of_the_next_job_before_the_host_waits_for_the_job_before():
    log = []
    assert streamed("cuda", (job(name, log) for name in "abcd")) == ["a", "b", "c", "d"]
    assert log == ["a1", "b1", "a2", "c1", "b2", "a3", "d1", "c2", "b3", "d2", "c3", "d3"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("steps", [[1, 1, 1, 1, 1], [4, 1, 2, 1, 3], [1, 5, 1, 1, 1]])
def test_jobs_of_different_lengths_all_end_and_few_run_at_once(device, steps):
    log, running, most = [], set(), 0

    def watched(name, count):
        nonlocal most
        running.add(name)
        most = max(most, len(running))
        result = yield from job(name, log, count)
        running.discard(name)
        return result

    results = streamed(device, (watched(name, count) for name, count in zip("abcde", steps, strict=True)))
    assert sorted(results) == list("abcde")
    assert most <= (JOBS_AT_ONCE if device == "cuda" else 1)


def test_an_error_of_a_job_is_raised():
    def failing():
        yield
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        streamed("cuda", [job("a", []), failing(), job("b", [])])


def test_the_other_jobs_end_after_an_error():
    def failing():
        raise ValueError("no")
        yield

    stream = Stream("cuda")
    assert stream.add(job("a", [], steps=4)) == []
    with pytest.raises(ValueError, match="no"):
        stream.add(failing())
    assert stream.rest() == ["a"]


def test_a_single_job_can_be_finished():
    assert finish(job("a", [])) == "a"


@with_gpu
def test_values_survive_the_way_to_a_gpu_and_back():
    array = np.random.default_rng(0).random((300, 400), np.float32)
    on_gpu = upload(array, torch.device("cuda"))
    get = download(2 * on_gpu, on_gpu)
    on_gpu.zero_()  # queued after the copy
    doubled, back = get()
    assert np.array_equal(back, array)
    assert np.array_equal(doubled, 2 * array)
