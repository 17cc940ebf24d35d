"""Print the results of the commands as tables and lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipes.flows.terminal.tables import new_table, print_table, styled
from clipes.tasks.commands.check.rejects import reject_lines
from clipes.tasks.machine.terminal import printable
from clipes.tasks.runs.ledger import SHARD_STATES, in_words
from clipes.tasks.stages.prompts import PROMPTS
from clipes.tasks.stages.registry import MANIFEST, title_of
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.evaluation.scored import SCORED

if TYPE_CHECKING:  # Importing these modules loads torch, which would delay `clipes status`.
    from clipes.tasks.commands.export.request import Exported
    from clipes.tasks.commands.garbage import GarbageCount
    from clipes.tasks.inputs.photos import Reject
    from clipes.tasks.runs.dry_run import StagePlan
    from clipes.tasks.runs.record.recorder import RunSummary

WITHOUT_RESULT = "photos without a result (a mask, a score or a prediction): see the reasons in"
UNFINISHED = ("running", "interrupted")  # states of runs that have not written their last files
STAGE_COLUMNS = {
    "shards": "shards",
    "cached": "cached_shards",
    "failed": "failed_shards",
    "rows": "images",
    "copied": "copied_rows",
    "computed": "computed_rows",
}


def print_plan(
    console: Console, plans: Sequence["StagePlan"], verified: bool, rejects: Sequence["Reject"] = ()
) -> None:
    """Print what a run would do in each stage, and which photos it would reject without opening them."""
    table = new_table("stage", "shards", "cached shards", "images", "copied rows", "computed rows")
    for plan in plans:
        counts = (plan.shards, plan.cached_shards, plan.images, plan.copied_rows, plan.computed_rows)
        table.add_row(title_of(plan.stage), *(str(count) for count in counts))
    print_table(console, table)
    if verified:
        _print_verified(console, sum(plan.cached_shards for plan in plans))
    if rejects:
        console.print(f"{len(rejects)} photos are rejected:")
        for line in reject_lines(rejects):
            console.print(f"  {line}")


def print_missing_weights(console: Console, names: Sequence[str]) -> None:
    """Say what a plan cannot know without the weights of CLIP.

    Args:
        console: console to print on.
        names: name of the weights of each planned run if they are missing; otherwise empty.
    """
    missing = list(dict.fromkeys(name for name in names if name))
    if missing:
        console.print(
            f"weights of CLIP that are not on this machine: {', '.join(missing)}. A run downloads them. Without them, "
            "the plan cannot know what the store has, and counts every row that needs them as to compute"
        )


def print_summary(console: Console, summary: "RunSummary", verified: bool) -> None:
    """Print the counts and scores of a run, the number of photos without a result, and the paths of the run's files."""
    print_metrics(console, summary.metrics)
    shards = [counts for stage, counts in summary.metrics["stages"].items() if stage != MANIFEST]
    if shards and all(counts["cached_shards"] == counts["shards"] for counts in shards):
        console.print(f"nothing to compute: all {sum(counts['shards'] for counts in shards)} shards are cached")
    if verified:
        _print_verified(console, sum(counts["cached_shards"] for counts in shards))
    if summary.rejects:
        console.print(f"{summary.rejects} {WITHOUT_RESULT} {summary.uri}/rejects.parquet")
    if summary.to_check:
        console.print(
            f"{summary.to_check} photos to check: the report begins with them, and clipes export {summary.name} "
            "--only to-check exports them"
        )
    console.print(f"run {summary.name}: {summary.uri}")
    if summary.report is not None:
        console.print(f"report: {summary.report}")


def print_metrics(console: Console, metrics: Mapping[str, Any]) -> None:
    """Print the counts of each stage, then the scores."""
    table = new_table("stage", *STAGE_COLUMNS, "rows/s", "wall s", "busy s")
    for name, stage in metrics.get("stages", {}).items():
        wall, rows = stage["wall_seconds"], stage.get("computed_rows")
        speed = f"{rows / wall:.2f}" if rows and wall else ""
        counts = (str(stage.get(column, "")) for column in STAGE_COLUMNS.values())
        table.add_row(title_of(name), *counts, speed, f"{wall:.1f}", f"{stage['busy_seconds']:.1f}")
    print_table(console, table)
    if any(scored.key in metrics for scored in SCORED):
        print_table(console, _scores_table(metrics))
    for warning in metrics.get("warnings", ()):
        console.print(f"warning: {warning}")
    if "training" in metrics:
        console.print(_training_line(metrics["training"]))
    if PROMPTS.name in metrics:
        best = metrics[PROMPTS.name]
        measured = f"of {best['templates']} templates (sharpness {best['sharpness']:.5f}, lower is better)"
        console.print(f"best {measured}: {best['template']}")


def print_status(console: Console, status: RunStatus) -> None:
    """Print the progress of a run, or how it ended. An ablation has no stages of its own, only its runs have."""
    run = status.run
    advice = ", run it again to resume" if status.interrupted else ""
    facts = f"{advice}, started {run['started']}, {run['photos']} photos"
    console.print(Text.assemble(printable(f"run {run['name']}: "), styled(status.state), facts))
    if run["error"]:
        console.print(run["error"])
    if status.rejects:
        console.print(f"{status.rejects} {WITHOUT_RESULT} rejects.parquet")
    if "ablation" in run:
        return
    if status.metrics is not None and status.state not in UNFINISHED:
        print_metrics(console, status.metrics)
        _print_not_run(console, status)
        return
    table = new_table("stage", "shards", *map(in_words, SHARD_STATES), "rows")
    for stage in dict.fromkeys(row["stage"] for row in status.shards):
        rows = [row for row in status.shards if row["stage"] == stage]
        states = [row["state"] for row in rows]
        counts = [str(states.count(state)) for state in SHARD_STATES]
        table.add_row(title_of(stage), str(len(rows)), *counts, str(sum(row["images"] for row in rows)))
    print_table(console, table)


def _print_not_run(console: Console, status: RunStatus) -> None:
    """Print for each stage how many of its shards were not run, and why the first of them was not."""
    for stage in dict.fromkeys(row["stage"] for row in status.shards):
        rows = [row for row in status.shards if row["stage"] == stage]
        skipped = [row for row in rows if row["state"] == "not_run"]
        if skipped:
            first = f"shard {skipped[0]['shard']}: {(skipped[0]['reason'] or '').removeprefix('not run: ')}"
            console.print(f"{stage}: {len(skipped)} of {len(rows)} shards were not run; the first is {first}")


def print_exported(console: Console, exported: "Exported", name: str, to: str) -> None:
    """Print how many masks of a run were exported, why some photos have none, and how many pixels are ignored."""
    unfinished = exported.state in UNFINISHED
    where = "the run lists them in rejects.parquet at its end" if unfinished else "see rejects.parquet of the run"
    reasons = f" ({where})" if exported.left_out else ""
    console.print(f"{exported.written} masks in {to}, {exported.left_out} photos without a mask{reasons}")
    if exported.unmade:
        advice = "export them when the run has ended" if exported.state == "running" else "run it again, then export"
        console.print(f"run {name} ({exported.state}): {exported.unmade} masks are not made yet; {advice}")
    if exported.ignored:
        share = 100 * exported.ignored / exported.pixels
        console.print(
            f"{exported.ignored:,} of {exported.pixels:,} pixels ({share:.1f} %) became 255 (ignore), because their "
            "confidence is too low; --ignore-below 0 keeps them"
        )
    if exported.note:
        console.print(exported.note)


def print_garbage(console: Console, counts: Sequence["GarbageCount"], removed: bool) -> None:
    """Print what `clipes gc` found, and whether it was deleted."""
    if not counts:
        console.print("nothing to delete")
        return
    table = new_table("stage", "files", "MB")
    for count in counts:
        table.add_row(count.stage, str(count.files), f"{count.size_bytes / 1e6:.1f}")
    print_table(console, table)
    console.print("deleted" if removed else "nothing is deleted yet; add --yes to delete")


def _print_verified(console: Console, cached: int) -> None:
    console.print(f"verified: {cached} cached artifacts were read completely")


def _training_line(training: Mapping[str, Any]) -> str:
    speed, processes = training["iterations_per_second"], training["processes"]
    pace = "" if speed is None else f" at {speed:.2f} iterations/s"
    on = f"{processes} process{'es' if processes > 1 else ''} on {training['device']}"
    best = training["best_miou"]
    reached = (
        "" if best is None else f", best mIoU during training {best:.4f} at iteration {training['best_iteration']}"
    )
    return (
        f"segmenter trained for {training['iterations']} iterations{pace} in {training['precision']} by {on}, "
        f"the loss used {training['kept_fraction']:.1%} of the labelled pixels{reached}"
    )


def _scores_table(metrics: Mapping[str, Any]) -> Table:
    table = new_table("score", "mIoU", "pixel accuracy", "mean accuracy", "power", "photos")
    for scored in SCORED:
        if scored.key in metrics:
            scores, power = metrics[scored.key], metrics[scored.key]["background_power"]
            shares = (f"{scores[key]:.4f}" for key in ("miou", "pixel_accuracy", "mean_accuracy"))
            table.add_row(scored.title, *shares, "" if power is None else f"{power:g}", str(scores["images"]))
    return table
