import os
import subprocess
import sys

import psutil
import pytest

from clipes.tasks.machine.processes import is_alive, started_at


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
