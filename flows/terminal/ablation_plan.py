"""Print what the runs of an ablation would do."""

from collections.abc import Sequence
from itertools import takewhile

from rich.console import Console

from clipes.flows.terminal.result_tables import print_missing_weights
from clipes.flows.terminal.tables import new_table, print_table
from clipes.tasks.ablation.plan import RunPlan
from clipes.tasks.runs.dry_run import StagePlan

LONG_NAME = 40  # characters; longer names are shown without the part that all runs have in common
LEGEND = "numbers: rows to compute; cached: in the store; shared: an earlier run of this table computes them"


def print_ablation_plan(console: Console, plans: Sequence[RunPlan]) -> None:
    """Print for each run and stage what is cached, shared, copied and computed, and the sums of the computed rows.

    If a name is long, the table has the names without their common beginning, which follows below the table.
    """
    beginning = _common_beginning([plan.name for plan in plans])
    stages = list(dict.fromkeys(line.stage for plan in plans for line in plan.stages))
    table = new_table("run", *stages)
    sums = dict.fromkeys(stages, 0)
    for plan in plans:
        lines = {line.stage: line for line in plan.stages}
        table.add_row(
            plan.name.removeprefix(beginning), *(_cell(lines[stage]) if stage in lines else "" for stage in stages)
        )
        for line in plan.stages:
            sums[line.stage] += line.computed_rows
    table.add_row("computed in all", *(str(sums[stage]) for stage in stages))
    print_table(console, table)
    console.print(LEGEND)
    if beginning:
        console.print(f"the names of all runs begin with {beginning}")
    print_missing_weights(console, [plan.missing_weights for plan in plans])
    names = dict[str, list[str]]()
    for plan in plans:
        if plan.problem is not None:
            names.setdefault(plan.problem, []).append(plan.name)
    for problem, concerned in names.items():
        console.print(f"{', '.join(concerned)}: cannot be planned: {problem}")


def _common_beginning(names: Sequence[str]) -> str:
    """Return the words with which all names begin, with a hyphen; empty if no name is long, or there is only one."""
    if len(names) < 2 or max(map(len, names)) <= LONG_NAME:
        return ""
    pairs = zip(min(names), max(names), strict=False)
    common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return common[: common.rfind("-") + 1]


def _cell(line: StagePlan) -> str:
    """Return what a run does in a stage, such as "150, 50 copied"."""
    computed = [str(line.computed_rows)] if line.computed_rows else []
    copied = [f"{line.copied_rows} copied"] if line.copied_rows else []
    shared = ["shared" if line.shared_rows == line.images else f"{line.shared_rows} shared"] if line.shared_rows else []
    return ", ".join([*computed, *copied, *shared]) or "cached"
