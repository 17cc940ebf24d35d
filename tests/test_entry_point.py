"""The entry point of the command line, before the command line is imported."""

import signal
import subprocess
import sys

import pytest

# The program sends itself a signal when `module` is imported. {handler} is the handler that it inherits for SIGINT.
SIGNAL_DURING_IMPORT = """
import signal, sys
from clipes.__main__ import main

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            signal.raise_signal({number})

signal.signal(signal.SIGINT, signal.{handler})
sys.meta_path.insert(0, Interrupting())
sys.argv = ["clipes", "--help"]
main()
"""


def run_program(**values):
    program = [sys.executable, "-c", SIGNAL_DURING_IMPORT.format(**values)]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("module", ["clipes.flows.cli", "rich.console", "typer"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_is_imported_ends_it_with_one_line(module, number):
    done = run_program(module=module, number=int(number), handler="default_int_handler")
    expected = (130, "", "clipes: interrupted before the command began\n")
    assert (done.returncode, done.stdout, done.stderr) == expected


def test_a_background_job_ignores_ctrl_c_while_the_command_is_imported():
    done = run_program(module="typer", number=int(signal.SIGINT), handler="SIG_IGN")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_the_entry_point_handles_signals_before_it_imports_more_than_a_few_modules():
    program = "import sys; before = set(sys.modules); import clipes.__main__; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if name.startswith("clipes")} == {"clipes", "clipes.__main__"}
    assert len(done.stdout.split()) < 10


def test_a_command_collects_garbage_rarely():
    program = """
import atexit, gc, sys
atexit.register(lambda: print(sum(each["collections"] for each in gc.get_stats()), gc.get_freeze_count() > 0))
from clipes.__main__ import main
sys.argv = ["clipes", "--help"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    collections, frozen = done.stdout.split("\n")[-2].split()
    assert int(collections) < 50  # with the default, more than 100
    assert frozen == "True"  # when the process ends, there is nothing to search
