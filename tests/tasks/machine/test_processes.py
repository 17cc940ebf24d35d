import os
import subprocess
import sys
import threading

import psutil
import pytest
from support.forks import exit_code_of_fork, held_by_a_thread

from clipes.tasks.machine.processes import ForkSafeLock, is_alive, started_at


def test_this_process_is_alive():
    assert is_alive(os.getpid(), started_at(os.getpid()))


def test_a_process_with_the_same_pid_and_another_start_is_not_alive():
    assert not is_alive(os.getpid(), started_at(os.getpid()) - 600)


def test_a_process_stays_alive_if_the_clock_of_the_host_is_set(monkeypatch):
    """The kernel computes the time at which it started from its clock, and psutil the start times of processes."""
    started, booted = started_at(os.getpid()), psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: booted + 3600)
    assert psutil.boot_time() == booted + 3600
    assert is_alive(os.getpid(), started)


def test_a_process_that_an_earlier_version_recorded_is_recognised():
    since_1970 = psutil.Process().create_time()
    assert is_alive(os.getpid(), since_1970)
    assert not is_alive(os.getpid(), since_1970 - 600)


def test_a_zombie_process_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = started_at(process.pid)
    assert is_alive(process.pid, started)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended but is still in the process table
    assert not is_alive(process.pid, started)
    process.communicate()
    assert not is_alive(process.pid, started)
    with pytest.raises(psutil.NoSuchProcess):
        started_at(process.pid)


def test_a_lock_is_held_by_one_thread_at_a_time_and_is_free_in_a_forked_process():
    lock, entered = ForkSafeLock(), []

    def enter():
        with lock:
            entered.append(1)

    with held_by_a_thread(lock):
        assert exit_code_of_fork(enter) == 0
        other = threading.Thread(target=enter)
        other.start()
        assert entered == []
    other.join()
    assert entered == [1]
