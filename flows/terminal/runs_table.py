"""Print the runs of a store."""

from collections.abc import Mapping

from rich.console import Console

from clipes.flows.terminal.tables import new_table, print_table, styled
from clipes.tasks.stages.registry import run_names
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import ClipesError
from clipes_core.evaluation.scored import PSEUDO_MASK, SEGMENTER_MASK


def print_runs(console: Console, runs: Mapping[str, RunStatus | ClipesError]) -> None:
    """Print a line for each run, the last started first, and the errors of runs whose files cannot be read.

    Args:
        console: where to print.
        runs: name of each run -> its status, or the error that occurred when its files were read.
    """
    read = {name: status for name, status in runs.items() if isinstance(status, RunStatus)}
    table = new_table("run", "state", "until", "photos", "mIoU of\nmasks", "mIoU of\nsegmenter", "started (UTC)")
    for name, status in sorted(read.items(), key=lambda run: run[1].run["started"], reverse=True):
        run = status.run
        scores = (_miou(status, scored.key) for scored in (PSEUDO_MASK, SEGMENTER_MASK))
        started = run["started"][:16].replace("T", " ")
        until = "" if run["until"] == run_names()[-1] else run["until"]
        if "ablation" in run:
            until = f"{len(run['ablation']['runs'])} runs"
        table.add_row(name, styled(status.state), until, str(run["photos"]), *scores, started)
    print_table(console, table)
    for name, found in runs.items():
        if isinstance(found, ClipesError):
            console.print(f"run {name} cannot be read: {found}")


def _miou(status: RunStatus, key: str) -> str:
    scores = (status.metrics or {}).get(key)
    return "" if scores is None else f"{100 * scores['miou']:.1f} %"
