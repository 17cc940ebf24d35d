import signal
import subprocess
import sys
import time

import psutil
import pytest
from support.process_watch import all_end_within

from clipes.tasks.machine.worker_state import current_worker

PROGRAM = """
import logging
import os
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot, current_worker, start_worker

start_worker(WorkerSlot("cuda:1", 3), Counters(("cams",)).of_slot(), logging.WARNING)
worker = current_worker()
assert worker.name == f"cuda:1:{os.getpid()}"
before = worker.peak_memory_mib
content = b"x" * (100 << 20)
assert before > 0 and worker.peak_memory_mib >= before + 99
print(os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"])
print(os.environ["OMP_WAIT_POLICY"], logging.getLogger("clipes").getEffectiveLevel())
"""

PARENT = """
import subprocess, sys
child = "import time; from clipes.tasks.machine.worker_state import end_with_parent; end_with_parent(); time.sleep(300)"
print(subprocess.Popen([sys.executable, "-c", child]).pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_knows_its_slot_memory_and_threads():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "3 3 3\npassive 30\n"


def test_a_process_that_is_not_a_worker_has_no_slot():
    with pytest.raises(RuntimeError, match=r"this process is not a clipes worker: call this code in a worker"):
        current_worker()


def test_a_process_that_multiprocessing_did_not_start_ends_with_its_parent():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        while child.num_threads() < 2:  # the thread that waits for the parent
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    assert all_end_within(10, [child])
