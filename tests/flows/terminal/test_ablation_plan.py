import io

import pytest

from clipes.flows.terminal.ablation_plan import LONG_NAME, print_ablation_plan
from clipes.tasks.ablation.plan import RunPlan
from clipes.tasks.machine.terminal import TerminalConsole
from clipes.tasks.runs.dry_run import StagePlan

LONG = "x" * 180


@pytest.fixture
def printed(monkeypatch):
    """Return a function that prints the plan of runs with these names, and returns its lines."""
    monkeypatch.setenv("COLUMNS", "100")

    def printed(*names, problem=None):
        stages = (StagePlan("cams", 1, 0, 6, 0, 6),)
        plans = [RunPlan(name, stages if problem is None else (), problem) for name in names]
        stream = io.StringIO()
        print_ablation_plan(TerminalConsole(stream, soft_wrap=True), plans)
        return stream.getvalue().splitlines()

    return printed


def test_short_names_are_shown_whole(printed):
    assert [line.split() for line in printed("demo-mhsa", "demo-caa")[:4]] == [
        ["run", "cams"],
        ["demo-mhsa", "6"],
        ["demo-caa", "6"],
        ["computed", "in", "all", "12"],
    ]


def test_the_common_beginning_of_long_names_is_shown_once(printed):
    header, *rows, legend, beginning = printed(f"{LONG}-caa-1", f"{LONG}-caa-flip-2")
    assert [row.split()[0] for row in rows] == ["1", "flip-2", "computed"]
    assert max(map(len, (header, *rows))) < LONG_NAME
    assert legend.startswith("numbers: rows to compute")
    assert beginning == f"the names of all runs begin with {LONG}-caa-"


def test_a_single_run_keeps_its_long_name(printed):
    assert any(line.startswith(f"{LONG}-caa") for line in printed(f"{LONG}-caa"))


def test_runs_that_cannot_be_planned_are_named_with_the_reason(printed):
    assert "demo-caa: cannot be planned: no weights" in printed("demo-caa", problem="no weights")
    assert "mhsa, caa: cannot be planned: no weights" in printed("mhsa", "caa", problem="no weights")
