"""Completion in a real shell: bash runs the script that clipes prints, and asks clipes for each completion."""

import os
import subprocess

import pytest
from support.commands import CLIPES

# $1: the program. The other arguments are the words of the line to complete.
COMPLETE = """
export PATH="$(dirname "$1"):$PATH"; shift
source <(_CLIPES_COMPLETE=source_bash clipes)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_clipes_completion clipes
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(tmp_path):
    """Return a function that returns the completions of a line, and what was printed to standard error."""
    for folder in ("clipes-store/runs/birds", "clipes-store/runs/fish", "other/runs/fowl"):
        (tmp_path / folder).mkdir(parents=True)

    def complete(*words):
        command = ["bash", "-c", COMPLETE, "bash", str(CLIPES), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout.split(), done.stderr

    return complete


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("clipes stat", "status"),
        ("clipes status ", "birds fish"),
        ("clipes status --store other ", "fowl"),
        ("clipes export b", "birds"),
        ("clipes run c.yaml --until mask", "masks mask_scores"),
        ("clipes export birds --format voc", "voc voc-server"),
        ("clipes run c.yaml --retry", "--retry-errors"),
        ("clipes status --store nowhere ", ""),
        ("clipes status --store s3://bucket/store ", ""),
        ("clipes status --store s3:/mistyped ", ""),
    ],
)
def test_bash_completes(complete, line, words):
    assert complete(*line.split(" ")) == (words.split(), "")


def test_clipes_prints_the_script_of_each_shell():
    for shell in ("bash", "zsh", "fish"):
        environment = {**os.environ, "_CLIPES_COMPLETE": f"source_{shell}"}
        done = subprocess.run([CLIPES], env=environment, capture_output=True, text=True, check=True)
        assert "_CLIPES_COMPLETE" in done.stdout
