import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipes.tasks.training.exit_guard import refuse_exit

END_OF_A_CHILD = """
import os, sys
from clipes.tasks.training.exit_guard import refuse_exit

with refuse_exit():
    child = os.fork()
    if not child:
        os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
END_OF_A_THREAD = """
import os, threading
from clipes.tasks.training.exit_guard import refuse_exit

with refuse_exit():
    thread = threading.Thread(target=os._exit, args=(4,))
    thread.start()
    thread.join()
"""


def run_program(text):
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)


def test_an_exit_in_the_block_raises_an_exception_that_names_it():
    before = os._exit
    with pytest.raises(SystemExit, match=r"^os\._exit\(0\)$"), refuse_exit():
        os._exit(0)
    assert os._exit is before


def test_a_block_within_a_block_does_not_end_the_guard():
    with refuse_exit():
        with refuse_exit():
            pass
        with pytest.raises(SystemExit):
            os._exit(0)


def test_a_forked_process_can_end_itself():
    assert run_program(END_OF_A_CHILD).stdout == "3\n"


def test_another_thread_can_end_the_process():
    assert run_program(END_OF_A_THREAD).returncode == 4


def test_blocks_of_several_threads_leave_the_exit_as_it_was():
    def guarded(_):
        with refuse_exit(), pytest.raises(SystemExit):
            os._exit(0)

    before = os._exit
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(guarded, range(100)))
    assert os._exit is before
