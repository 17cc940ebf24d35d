"""Print what a reproduction knows about its parts before they run: findings, plans, forecasts, and what is left out."""

from collections.abc import Iterable

from rich.console import Console
from rich.filesize import decimal

from clipes.flows.ablation.plan import plan_ablation
from clipes.flows.estimation import Estimate
from clipes.flows.terminal.ablation_plan import print_ablation_plan
from clipes.flows.terminal.check_lines import print_check
from clipes.flows.terminal.estimate_table import print_estimate
from clipes.tasks.ablation.shown_figures import with_known_figures
from clipes.tasks.ablation.variant_runs import variant_runs
from clipes.tasks.commands.estimate.forecast import Forecast
from clipes.tasks.commands.finding import Finding
from clipes.tasks.commands.reproduce.paper_config import PaperRuns
from clipes.tasks.ui.durations import rough_duration

NOT_MEASURED = (
    "time: not known yet, because this store has no measurement of a sample of these photos. Without --plan, clipes "
    "measures a sample first, and states time and size before the runs start. Until then, the line disk of the check "
    "estimates the size of a run"
)


def print_part_check(console: Console, runs: PaperRuns, findings: Iterable[Finding]) -> bool:
    """Print the findings about a part as soon as they are known; return whether its runs can start."""
    console.print(f"{runs.grid.title}\n")
    return print_check(console, findings)


def print_part_plan(console: Console, runs: PaperRuns, estimate: Estimate | None) -> None:
    """Print what the runs of a part would reuse, share and compute, and their time and size. Nothing is computed.

    Args:
        console: console to print to.
        runs: runs of the part.
        estimate: forecast of a run; None if no sample of the photos has been measured.
    """
    planned = variant_runs(runs.config, runs.grid)
    print_ablation_plan(console, plan_ablation(planned, with_known_figures(runs.grid, planned[0].config).last_stage))
    console.print(_all_runs(runs, estimate.forecast) if estimate is not None else NOT_MEASURED)


def print_forecast(console: Console, runs: PaperRuns, estimate: Estimate) -> None:
    """Print the forecast of a run, and the time and the size of all runs of a part."""
    print_estimate(console, estimate)
    console.print(_all_runs(runs, estimate.forecast))


def _all_runs(runs: PaperRuns, forecast: Forecast) -> str:
    labels = [variant.label for variant in runs.grid.all_variants]
    count = f"{len(labels)} run{'s' if len(labels) > 1 else ''} ({', '.join(labels)})"
    return (
        f"{count}: at most {rough_duration(len(labels) * forecast.wall_seconds)} and "
        f"{decimal(round(len(labels) * forecast.stored_bytes))}, less if the store has some of their artifacts"
    )


def print_left_out(console: Console, left_out: Iterable[str]) -> None:
    """Print which parts are not part of a reproduction, and why."""
    for reason in left_out:
        console.print(f"\nnot part of this reproduction: {reason}")
