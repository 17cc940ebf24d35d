"""The help of the commands."""

import os
import subprocess

import pytest
from support.commands import CLIPES

from clipes.flows.cli import COMMANDS
from clipes.tasks.stages.registry import run_names

NAMES = [command.__name__ for commands in COMMANDS.values() for command in commands]


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
