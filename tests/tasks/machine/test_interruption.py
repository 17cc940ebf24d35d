import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from prefect.exceptions import TerminationSignal

from clipes.tasks.machine.interruption import INTERRUPTED, interruption_behind, interruption_first, sigint_blocked

pytestmark = pytest.mark.usefixtures("default_sigint_handler")

INTERRUPTIONS = [KeyboardInterrupt(), TerminationSignal(signal.SIGTERM)]


def raise_while_handling(first, then):
    """Raise `first`, and raise `then` while `first` is being handled."""
    try:
        raise first
    finally:
        raise then


def caught(first, then):
    with pytest.raises(type(then)) as found:
        raise_while_handling(first, then)
    return found.value


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda each: type(each).__name__)
def test_an_interruption_is_raised_instead_of_the_error_that_replaced_it(interruption, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(type(interruption)) as found, interruption_first():
        raise_while_handling(interruption, OSError(9, "Bad file descriptor"))
    assert found.value is interruption
    assert caplog.messages == [
        "an error occurred while the run was being stopped: OSError: [Errno 9] Bad file descriptor"
    ]


def test_an_interruption_is_found_behind_a_chain_of_errors():
    interruption = KeyboardInterrupt()
    assert interruption_behind(caught(caught(interruption, OSError("pipe")), ValueError("not closed"))) is interruption


def test_ctrl_c_is_raised_instead_of_the_error_of_closing_a_file():
    def fail_to_close():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            os.close(-1)

    with pytest.raises(KeyboardInterrupt), interruption_first():
        fail_to_close()


@pytest.mark.parametrize("error", [OSError("no"), ValueError("no"), SystemExit(1), SystemExit(INTERRUPTED)])
def test_an_error_without_an_interruption_is_raised_unchanged(error, caplog):
    with pytest.raises(type(error)) as found, interruption_first():
        raise error
    assert found.value is error
    assert not caplog.messages


@pytest.mark.parametrize("first", [ValueError(), SystemExit(1), GeneratorExit()], ids=lambda each: type(each).__name__)
def test_an_error_behind_an_error_is_not_an_interruption(first):
    assert interruption_behind(caught(first, OSError("no"))) is None


def test_a_handled_interruption_is_not_behind_later_errors():
    with suppress(KeyboardInterrupt):
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="no") as found:
        raise OSError("no")
    assert interruption_behind(found.value) is None


def test_sigint_is_delivered_after_the_block():
    reached = []

    def interrupted_in_the_block():
        with sigint_blocked():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            reached.append("the end of the block")
        reached.append("more")

    with pytest.raises(KeyboardInterrupt):
        interrupted_in_the_block()
    assert reached == ["the end of the block"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_a_library_turns_into_an_error_still_interrupts(number):
    program = f"""
import pydantic, signal
from clipes.tasks.machine.interruption import handle_signals, interruption_first

class Interrupted(pydantic.BaseModel):
    @pydantic.model_serializer
    def interrupt(self):
        signal.raise_signal({int(number)})

signal.signal(signal.SIGINT, signal.default_int_handler)
handle_signals()
try:
    with interruption_first():
        Interrupted().model_dump()
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


SIGNAL_IN_FINALIZER = """
import signal, threading
from clipes.tasks.machine.interruption import handle_signals

class Held:
    def __del__(self):
        signal.raise_signal({number})

signal.signal(signal.SIGINT, signal.default_int_handler)
handle_signals()
try:
    Held()
    threading.Event().wait(30)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_finalizer_still_interrupts(number):
    program = [sys.executable, "-c", SIGNAL_IN_FINALIZER.format(number=int(number))]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


SEMAPHORES_AT_THE_END = """
import multiprocessing
from clipes.tasks.machine.interruption import end_without_exit_handlers

context = multiprocessing.get_context("spawn")
held = context.RLock(), context.Queue(), context.Value("q")
print("done")
end_without_exit_handlers(3)
"""


def test_a_process_that_ends_without_exit_handlers_leaves_no_semaphores():
    program = [sys.executable, "-c", SEMAPHORES_AT_THE_END]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "done\n", "")
