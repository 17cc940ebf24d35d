"""The sections of docs/results.md that are tables of shipped grids."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from benchmarks.results.calls import CONFIG, Clipes, shipped
from benchmarks.results.paragraphs import items, paragraph
from clipes.tasks.ablation.result import AblationResult
from clipes.tasks.ablation.tables.agreement import Comparison, comparisons
from clipes.tasks.ablation.tables.markdown_table import signed
from clipes.tasks.ablation.tables.table import AblationTable, table_of
from clipes.tasks.ablation.tables.text_files import markdown_table
from clipes.tasks.ablation.tables.wording import explanations, findings, problems
from clipes_core.evaluation.scored import CENTRE_BOX

GRIDS = (  # in the order of the page
    "table1",
    "table2",
    "table6",
    "table8",
    "templates",
    "pooling",
    "fusion",
    "lambda",
    "power",
    "attention_blocks",
)
SEGMENTER = "table7"
WITH_BASELINE = "table1"


ABOUT_TRAINING = (
    "The pseudo masks are made with the labels of the scenes, but the segmenter predicts without labels.",
    "It is small, and starts from random weights, so that the demo ends in minutes.",
    "On another type of processor, the mIoU can differ by up to two points, because processors round sums differently,",
    "and these differences grow during the training.",
)


def run_grids(clipes: Clipes, names: Iterable[str], seeds: Sequence[int]) -> dict[str, AblationTable]:
    """Run shipped grids, each with all seeds of the scenes, and return their tables."""
    tables = {}
    for name in names:
        show = [CENTRE_BOX.key, *shipped(name)["show"]] if name == WITH_BASELINE else shipped(name)["show"]
        tables[name] = table_of(clipes.ablation(name, seeds={"dataset.seed": [*seeds]}, show=show))
    return tables


def agreement_section(tables: Mapping[str, AblationTable]) -> list[str]:
    """Return the lines of the section that compares the order of the scores with that of the paper.

    Two grids can have runs in common. Two scores that an earlier grid has compared are not compared again.
    """
    found: dict[tuple[float, ...], tuple[str, Comparison]] = {}
    for name, table in tables.items():
        for each in comparisons(table):
            found.setdefault((*each.paper, *each.measured), (name, each))
    rows = sorted(found.values(), key=lambda row: row[1].agrees)
    against = [each for _, each in rows if not each.agrees]
    return [
        "## Agreement with the paper",
        "",
        *paragraph(
            "The paper measures on VOC, this page on drawn scenes with a small CLIP. The numbers cannot be equal, but",
            "the method should have the same effects. Here, the order of two scores is compared wherever the paper",
            f"reports both: {len(rows) - len(against)} of {len(rows)} orders agree.",
            *(["The first rows are those that disagree."] if against else []),
            "The last column has the difference between the two scores here: the mean over the seeds, with the lowest",
            "and the highest value in brackets.",
        ),
        "",
        "| | grid | comparison | paper | here | seeds with this order | difference |",
        "|---|---|---|---|---|---|---|",
        *(_comparison_row(name, each) for name, each in rows),
    ]


def grid_section(name: str, table: AblationTable, title: str = "") -> list[str]:
    """Return the lines of the section of a grid. Its default title is that of the grid."""
    told = [line for line in findings(table) if not line.startswith("Agrees")] + problems(table)
    return [
        f"## {title or table.title}",
        "",
        *paragraph(f"`clipes ablate {CONFIG} --grid {name}`, with each seed.", table.about, table.paper),
        "",
        *markdown_table(table),
        "",
        *paragraph(*explanations(table)),
        *([""] if told else []),
        *items(*told),
    ]


def segmenter_section(result: AblationResult) -> list[str]:
    """Return the lines of the section on the segmenter: the table of the losses, and what it shows."""
    table = table_of(result)
    lines = grid_section(SEGMENTER, table, "The segmenter")
    return [*lines, "", *paragraph(*_losses(result, table), *ABOUT_TRAINING)]


def _comparison_row(grid: str, each: Comparison) -> str:
    paper, here = ("{:.1f}, {:.1f}".format(*numbers) for numbers in (each.paper, each.measured))
    cells = [
        "agrees" if each.agrees else "**disagrees**",
        grid,
        f"{each.what}: {each.lower} < {each.higher}",
        paper,
        here,
        f"{each.agreeing} of {len(each.differences)}",
        _differences(each),
    ]
    return f"| {' | '.join(cells)} |"


def _differences(each: Comparison) -> str:
    average, *ends = (signed(of(each.differences), 1) for of in (mean, min, max))
    return f"{average} ({' to '.join(ends)})" if len(each.differences) > 1 else average


def _losses(result: AblationResult, table: AblationTable) -> list[str]:
    """Return sentences that compare the difference between the losses with the spread over the seeds."""
    means: dict[str, list[float]] = {}
    spreads, kept = [], []
    for one, row in zip(result.variants, table.rows, strict=True):
        (cell,) = row.cells
        if cell.mean is None:
            continue
        means.setdefault(one.variant.labels["loss"], []).append(cell.mean)
        spreads.append(max(cell.values) - min(cell.values))
        if one is result.reference:
            kept = [run.metrics["training"]["kept_fraction"] for run in one.runs if "training" in run.metrics]
    if len(means) < 2:
        return []
    lines = []
    if table.repeats > 1:
        first, second = (mean(of_loss) for of_loss in means.values())
        difference, spread = abs(first - second), max(spreads)
        verdict = "the runs do not show which loss is better" if difference <= spread else "the losses differ clearly"
        lines.append(
            f"The losses differ by {difference:.1f} points on average, the seeds of a loss by up to {spread:.1f}: "
            f"{verdict}."
        )
    if kept:
        lines.append(
            f"With {next(iter(means))}, {mean(kept):.1%} of the labelled pixels count in the loss; the others have a "
            "confidence below 0.95."
        )
    return lines
