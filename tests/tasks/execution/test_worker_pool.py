import json
import operator
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from support.pool_calls import call, worker_pool
from support.prepared import prepare_run
from support.small_runs import make_or_reuse_shard, make_run, planned
from support.worker_calls import (
    allocate_too_much,
    count,
    hang,
    models_loaded,
    peak_memory,
    raise_timeout,
    sigint_is_blocked,
    warn,
    worker_name,
)

from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.machine.devices import gpu_slots
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot, current_worker
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import PhotoError, StoppedError, WorkerError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def counters():
    return Counters(tuple(STAGES))


@pytest.fixture(scope="module")
def two(counters):
    """Yield a pool of two workers, both on the CPU."""
    slots = gpu_slots(ClipConfig(device="cpu"), ExecutionConfig(gpu_workers=2))
    with worker_pool(slots, counters) as pool:
        yield pool


@pytest.fixture
def one():
    with worker_pool([WorkerSlot("cpu", 1)], Counters(())) as pool:
        yield pool


def pid(pool):
    return int(call(pool, worker_name).rpartition(":")[2])


def gone(pids, seconds):
    """Return whether all processes end in time, without reaping them: the pool needs their exit codes."""
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


def alive(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_workers_share_the_work(two):
    with ThreadPoolExecutor(4) as threads:
        names = list(threads.map(lambda _: call(two, worker_name, 0.3), range(4)))

    assert sorted(names.count(name) for name in names) == [2, 2, 2, 2]
    assert all(name.startswith("cpu:") for name in names)
    assert f"cpu:{os.getpid()}" not in names


def test_a_worker_runs_one_call_at_a_time(one):
    started = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        names = list(threads.map(lambda _: call(one, worker_name, 0.2), range(3)))

    assert len(set(names)) == 1
    assert time.monotonic() - started >= 0.6


def test_two_devices_load_the_model_once_each_and_give_the_same_rows(two, tiny, pool):
    for number in range(12):
        tiny.add(f"photo{number}", "cat;dog")
    run = prepare_run(tiny.config(execution={"shards": 6}), "cams")
    alone = make_run(run, pool)
    anew = prepare_run(tiny.config(execution={"shards": 6}), "cams", Reuse(fresh=True))
    plans = [planned(anew, STAGES["cams"], shard, {}) for shard in anew.inputs.shards]

    with ThreadPoolExecutor(2) as threads:
        records = list(threads.map(lambda plan: make_or_reuse_shard(anew, STAGES["cams"], plan, two), plans))

    assert len({record.worker for record in records}) == 2
    assert [call(two, models_loaded) for _ in range(2)] == [1, 1]
    rows = {row["image_id"]: row for record in records for row in run.store.read_rows(record.uri)}
    assert rows.keys() == alone.rows("cams").keys()
    for image_id, row in alone.rows("cams").items():
        np.testing.assert_allclose(rows[image_id]["scores"], row["scores"], rtol=0, atol=1e-5)
        for column in ("cam", "refined_cam"):
            np.testing.assert_allclose(stored_cams(rows[image_id], column), stored_cams(row, column), atol=1e-3)


def test_a_worker_has_the_threads_of_its_slot():
    with worker_pool([WorkerSlot("cpu", 3)], Counters(())) as pool:
        found = [call(pool, os.getenv, f"{name}_NUM_THREADS") for name in ("OMP", "OPENBLAS", "MKL")]
    assert found == ["3", "3", "3"]


def test_the_counts_of_all_running_calls_are_added_up(two, counters, tmp_path):
    end = tmp_path / "end"
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(call, two, count, "masks", rows, end) for rows in (200, 300)]
        while counters.count("masks") < 500:
            assert not any(each.done() for each in calls)
            time.sleep(0.01)
        assert (counters.count("masks"), counters.count("texts")) == (500, 0)
        end.touch()
    assert counters.count("masks") == 0


def test_a_worker_killed_while_counting_blocks_no_other_worker():
    counters = Counters(("masks",))
    with worker_pool([WorkerSlot("cpu", 1)] * 2, counters) as pool, ThreadPoolExecutor(1) as threads:
        pids = [pid(pool), pid(pool)]
        for _ in range(3):
            running = threads.submit(call, pool, count, "masks", 10**9)
            while not counters.count("masks"):
                assert not running.done()
                time.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
            with pytest.raises(WorkerError, match="its worker process died"):
                running.result(timeout=20)
            assert counters.count("masks") == 0
            pids = [pid(pool), pid(pool)]
            for _ in range(2):
                call(pool, count, "masks", 5, timeout_s=10)


def test_a_killed_worker_is_replaced(one):
    first = pid(one)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(call, one, time.sleep, 60)
        time.sleep(0.5)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"its worker process died with exit code -9 \(killed, often because"):
            running.result(timeout=20)

    assert pid(one) != first


def test_a_worker_killed_while_idle_is_replaced(one):
    first = pid(one)
    os.kill(first, signal.SIGKILL)
    assert gone([first], 10)
    time.sleep(0.5)

    assert pid(one) != first


def test_a_worker_killed_repeatedly_loses_only_its_own_calls(one):
    for _ in range(3):
        os.kill(pid(one), signal.SIGKILL)
        with pytest.raises(WorkerError, match="its worker process died"):
            call(one, time.sleep, 0)  # immediately, before the pool can notice the death
    assert pid(one)


def test_a_call_over_the_time_limit_is_stopped_and_its_worker_replaced(one):
    first = pid(one)
    started = time.monotonic()

    with pytest.raises(WorkerError, match=r"stopped after 0\.5 s: raise execution\.shard_timeout_s$"):
        call(one, time.sleep, 60, timeout_s=0.5)

    assert time.monotonic() - started < 10
    assert pid(one) != first
    assert gone([first], 10)


def test_a_worker_that_runs_out_of_memory_is_replaced(one):
    first = pid(one)
    with pytest.raises(WorkerError, match=r"^its worker process ran out of memory$"):
        call(one, allocate_too_much)

    assert pid(one) != first
    assert gone([first], 10)


def test_the_log_of_a_worker_is_shown(capfd):
    with worker_pool([WorkerSlot("cpu", 1)], Counters(())) as pool:
        call(pool, warn, "the network has 12 blocks")
    assert "clipes: the network has 12 blocks\n" in capfd.readouterr().err


def test_the_time_limit_covers_only_the_call(one):
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(call, one, time.sleep, 0.4, timeout_s=0.9) for _ in range(3)]
        assert [each.result(timeout=20) for each in waiting] == [None, None, None]


def test_an_exception_arrives_unchanged(two):
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        call(two, operator.truediv, 1, 0)


def test_a_timeout_error_of_the_call_is_not_the_pool_s_time_limit(two):
    with pytest.raises(TimeoutError, match="the store did not answer") as caught:
        call(two, raise_timeout)
    assert not isinstance(caught.value, WorkerError)


def test_the_error_of_a_photo_arrives_with_its_kind(two, tmp_path):
    photo = Photo("a", f"{tmp_path}/a.jpg", 1, "1", ())
    with pytest.raises(PhotoError) as caught:
        call(two, load_photo, photo, DatasetConfig())
    assert caught.value.kind == "missing"
    assert caught.value.reason == f"{tmp_path}/a.jpg does not exist"


def test_the_pool_accepts_calls_after_an_exception(one):
    first = pid(one)
    with pytest.raises(ZeroDivisionError):
        call(one, operator.truediv, 1, 0)
    assert pid(one) == first


def test_an_unpicklable_call_is_reported_and_the_pool_accepts_more_calls(one):
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        call(one, lambda: None)
    assert pid(one)


def test_closing_ends_the_processes():
    pool = WorkerPool([WorkerSlot("cpu", 1)] * 2, Counters(()))
    pids = {pid(pool) for _ in range(4)}
    assert len(pids) == 2

    pool.close()

    assert gone(pids, 5)
    with pytest.raises(StoppedError, match="stopped before it was done"):
        call(pool, worker_name)


def test_closing_a_pool_that_was_never_used_ends_at_once():
    started = time.monotonic()
    WorkerPool([WorkerSlot("cpu", 1)], Counters(())).close()
    assert time.monotonic() - started < 2


def test_closing_and_renewing_at_once_end_the_processes():
    for _ in range(10):
        pool = WorkerPool([WorkerSlot("cpu", 1)], Counters(()))
        worker = pid(pool)
        with ThreadPoolExecutor(4) as threads:
            ends = [threads.submit(end) for end in (pool.renew, pool.close) * 2]
        assert [end.result() for end in ends] == [None] * 4
        assert gone([worker], 5)


def test_a_worker_blocks_sigint_from_its_start(one):
    first = pid(one)
    assert call(one, sigint_is_blocked)
    one.renew()
    second = pid(one)
    assert call(one, sigint_is_blocked)
    with pytest.raises(WorkerError):
        call(one, time.sleep, 60, timeout_s=0.5)  # pebble replaces the process in another thread
    assert call(one, sigint_is_blocked)
    assert len({first, second, pid(one)}) == 3
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("scenario", ["training", "starting"])
def test_ctrl_c_ends_a_pool_and_its_calls_without_another_error(scenario):
    trials, stopped = 12, repr(StoppedError("stopped before it was done"))
    program = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "interrupted_pools.py", scenario, str(trials)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,  # run() reads the output until no worker holds the pipe any more
        text=True,
        timeout=120,
        start_new_session=True,
        check=False,
    )
    ends = [json.loads(line) for line in program.stdout.splitlines()]
    assert ends == [{"block": "KeyboardInterrupt()", "calls": [stopped, stopped]}] * trials
    assert program.stderr == ""
    assert program.returncode == 0


def test_a_stopped_call_raises_and_the_pool_accepts_more_calls(one, tmp_path):
    started = tmp_path / "started"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(call, one, hang, started)
        while not started.exists():
            assert not waiting.done()
            time.sleep(0.01)
        one.stop_calls()
        with pytest.raises(StoppedError, match=r"^stopped before it was done$"):
            waiting.result(timeout=30)
    assert call(one, operator.add, 1, 2) == 3


def test_closing_raises_an_error_in_the_threads_that_wait():
    pool = WorkerPool([WorkerSlot("cpu", 1)], Counters(()))
    worker = pid(pool)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(call, pool, time.sleep, 60) for _ in range(2)]
        time.sleep(0.5)
        pool.close()
        for each in waiting:
            with pytest.raises(StoppedError, match="stopped before it was done"):
                each.result(timeout=10)
    assert gone([worker], 5)


def test_only_a_worker_process_has_a_device():
    with pytest.raises(RuntimeError, match=r"this process is not a clipes worker: call this code in a worker"):
        current_worker()


PARENT = """
import time
from concurrent.futures import ThreadPoolExecutor
from support.pool_calls import worker_pool
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from support.pool_calls import call
from support.worker_calls import worker_name

if __name__ == "__main__":
    pool = WorkerPool([WorkerSlot("cpu", 1)] * 2, Counters(()))
    print(*(call(pool, worker_name, timeout_s=60) for _ in range(2)), flush=True)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(call, pool, time.sleep, 300, timeout_s=300).result()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, number):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        workers = [int(name.rpartition(":")[2]) for name in parent.stdout.readline().split()]
        family = [each.pid for each in psutil.Process(parent.pid).children(recursive=True)]
        assert set(workers) <= set(family)

        parent.send_signal(number)

        assert parent.wait(timeout=10) == -number
        assert gone(family, 10)  # one of them is busy, the other idle


def test_the_peak_memory_of_a_worker_excludes_its_parent():
    held = np.ones(600 << 20, dtype=np.uint8)
    with worker_pool([WorkerSlot("cpu", 1)], Counters(("cams",))) as pool:
        peak = call(pool, peak_memory, timeout_s=60)
    assert held.nbytes >> 20 == 600
    assert 10 < peak < 500
