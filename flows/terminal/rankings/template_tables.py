"""Print the ranking of templates, and the scores of a sample of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from clipes.flows.terminal.result_tables import print_summary
from clipes.flows.terminal.tables import print_table
from clipes.tasks.stages.prompts import PROMPTS

if TYPE_CHECKING:  # Importing these modules loads torch, which would delay `clipes status`.
    from clipes.flows.rankings.templates import PromptSelection
    from clipes.tasks.runs.templates.ranking_record import ScoredSample


def print_selection(console: Console, selection: "PromptSelection", verified: bool) -> None:
    """Print a ranking, its number of photos, the scores of sampled templates (if any), and the summary of the run."""
    from clipes.tasks.runs.templates.ranking import counted

    ranking, summary = selection.ranking, selection.summary
    rows = [(str(each.rank), each.template, f"{each.sharpness:.5f}") for each in ranking.ranked]
    print_table(console, _template_table(("rank", "template", "sharpness"), rows))
    pooling = summary.metrics[PROMPTS.name]["pooling"]
    console.print(f"sharpness (lower is better) of {counted(ranking)}; image embedding: {pooling} (clip.pooling)")
    if selection.sample is not None:
        _print_sample(console, selection.sample)
    print_summary(console, summary, verified)


def _print_sample(console: Console, sample: "ScoredSample") -> None:
    from clipes.tasks.runs.templates.ranking_record import correlations

    rows = [
        (
            str(each.rank),
            each.template,
            f"{each.sharpness:.5f}",
            f"{score.initial_miou:.4f}",
            f"{score.initial_power:g}",
            f"{score.refined_miou:.4f}",
            f"{score.refined_power:g}",
        )
        for each, score in zip(sample.ranked, sample.scores, strict=True)
    ]
    columns = ("rank", "template", "sharpness", "initial", "p", "refined", "p")
    print_table(console, _template_table(columns, rows))
    console.print("initial, refined: mIoU of the initial and refined CAMs at the best background power p")
    for line in correlations(sample):
        console.print(f"sharpness against mIoU, {line}; the CLIP-ES paper expects a negative correlation")


def _template_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        is_text = column == "template"
        table.add_column(column, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
