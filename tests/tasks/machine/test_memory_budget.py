import threading
from concurrent.futures import ThreadPoolExecutor

import psutil

from clipes.tasks.machine.memory_budget import CGROUP_FILES, MemoryBudget, available_bytes


def test_the_available_memory_is_at_most_that_of_the_container(tmp_path):
    (tmp_path / "memory").mkdir()
    for limit, used, parts in CGROUP_FILES:
        (tmp_path / limit).write_text("3000000\n")
        (tmp_path / used).write_text("1500000\n")
        (tmp_path / parts).write_text("anon 900000\ninactive_file 500000\nactive_file 100000\n")
        assert available_bytes(tmp_path) == 2_000_000
        (tmp_path / used).write_text("3500001\n")
        assert available_bytes(tmp_path) == 0
        (tmp_path / limit).unlink()


def test_a_container_without_a_limit_has_the_memory_of_the_machine(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert 0 < available_bytes(tmp_path) <= psutil.virtual_memory().total


def test_the_reserved_memory_never_exceeds_the_budget():
    budget, used, peaks = MemoryBudget(10), [0], []
    lock = threading.Lock()

    def work(size: int) -> None:
        with budget.reserve(size):
            with lock:
                used[0] += size
                peaks.append(used[0])
            with lock:
                used[0] -= size

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, [1, 7, 3, 10, 4, 6, 2, 9] * 100))
    assert len(peaks) == 800
    assert max(peaks) <= 10


def test_blocks_run_at_the_same_time_if_the_budget_suffices():
    budget, both = MemoryBudget(10), threading.Barrier(2, timeout=30)

    def work(size: int) -> None:
        with budget.reserve(size):
            both.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, [4, 6]))


def test_a_block_that_needs_more_than_the_budget_runs_alone():
    budget, others = MemoryBudget(10), threading.Event()

    def small() -> None:
        with budget.reserve(1):
            others.set()

    with budget.reserve(1000):
        thread = threading.Thread(target=small)
        thread.start()
        thread.join(0.05)
        assert not others.is_set()
    thread.join()
    assert others.is_set()


def test_small_requests_do_not_overtake_a_large_one():
    budget, order = MemoryBudget(10), []
    threads = []

    def work(size: int) -> None:
        with budget.reserve(size):
            order.append(size)

    with budget.reserve(5):
        for size in (10, 1):
            threads.append(threading.Thread(target=work, args=(size,)))
            threads[-1].start()
            while not budget._first.locked():
                pass
        threads[-1].join(0.05)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == [10, 1]


def test_an_error_returns_the_memory():
    budget = MemoryBudget(10)
    for _ in range(3):
        try:
            with budget.reserve(10):
                raise ValueError
        except ValueError:
            pass
