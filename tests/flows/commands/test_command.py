"""The help of the commands."""

import os
import subprocess

import pytest
from support.commands import CLIPES

from clipes.flows.cli import COMMANDS
from clipes.tasks.stages.registry import run_names

NAMES = [command.__name__ for commands in COMMANDS.values() for command in commands]


COLOURS = {"NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}


def help_of(*arguments):
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([CLIPES, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout  # nothing is cut off
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_fits_80_columns(name):
    assert f"Usage: clipes {name}" in help_of(name, "--help")


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_help_groups_the_commands_by_purpose(arguments):
    shown = help_of(*arguments)
    assert [title for title in COMMANDS if f"─ {title} ─" in shown] == list(COMMANDS)
    assert all(f"│ {name} " in shown for name in NAMES)


def test_the_help_names_the_stages():
    words = help_of("run", "--help").replace("│", " ").split()
    assert ", ".join(run_names()) in " ".join(words)


@pytest.mark.parametrize(
    ("on_terminal", "given", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_messages_are_coloured_on_a_terminal_unless_the_environment_says_otherwise(
    tmp_path, on_terminal, given, coloured
):
    environment = {name: value for name, value in os.environ.items() if name not in COLOURS}
    reading, writing = os.openpty() if on_terminal else os.pipe()
    command = [CLIPES, "status", "none"]
    subprocess.run(command, env={**environment, "TERM": "xterm", **given}, stderr=writing, check=False, cwd=tmp_path)
    os.close(writing)
    shown = os.read(reading, 1 << 16).decode()
    os.close(reading)
    assert ("\x1b[31mclipes:\x1b[0m no run none" if coloured else "clipes: no run none") in shown
    assert ("\x1b[" in shown) == coloured
