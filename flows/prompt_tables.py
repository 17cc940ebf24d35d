"""What `clipes prompts` shows."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipes.flows.prompt_selection import PromptSelection
from clipes.flows.tables import print_summary
from clipes.tasks.runs.ranking import counted
from clipes.tasks.runs.ranking_record import ScoredSample, correlations


def print_selection(console: Console, selection: PromptSelection, verified: bool) -> None:
    """The ranking, on what it stands, the scores of a sample where asked for, and where the files are."""
    ranking, summary = selection.ranking, selection.summary
    rows = [(str(each.rank), each.template, f"{each.sharpness:.5f}") for each in ranking.ranked]
    console.print(_table(("rank", "template", "sharpness"), rows))
    pooling = summary.metrics["prompts"]["pooling"]
    console.print(f"sharpness (lower is better) of {counted(ranking)}; image embedding: {pooling} (clip.pooling)")
    if selection.sample is not None:
        _print_sample(console, selection.sample)
    print_summary(console, summary, verified)


def _print_sample(console: Console, sample: ScoredSample) -> None:
    rows = [
        (
            *(str(each.rank), each.template, f"{each.sharpness:.5f}"),
            *(f"{score.initial_miou:.4f}", f"{score.initial_power:g}"),
            *(f"{score.refined_miou:.4f}", f"{score.refined_power:g}"),
        )
        for each, score in zip(sample.ranked, sample.scores, strict=True)
    ]
    console.print(_table(("rank", "template", "sharpness", "initial", "p", "refined", "p"), rows))
    console.print("initial and refined CAMs: mIoU at the best background power p")
    for line in correlations(sample):
        console.print(f"sharpness against mIoU, {line}; the paper expects a negative one")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Templates are shown as they are, whatever brackets they hold."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == "template" else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
