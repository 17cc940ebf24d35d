"""The words and numbers of an ablation's table, which all of its forms share."""

from collections.abc import Iterable

from clipes.tasks.ablation.tables.agreement import agreement_lines, sharpness_lines
from clipes.tasks.ablation.tables.columns import Column
from clipes.tasks.ablation.tables.table import AblationTable, Cell, MissingFigure
from clipes.tasks.stages.mask_scores import CAM_POWERS
from clipes_core.evaluation.scored import INITIAL_CAM, REFINED_CAM

DIFFERENCE, PAPER, REFERENCE = "+/-", "paper", "ref."


def spread(cell: Cell, column: Column) -> str:
    """Format the values of a cell: the mean and, with several runs, the lowest and the highest value."""
    if len(cell.values) < 2:
        return column.number(cell.mean)
    ends = f"{column.number(min(cell.values))} to {column.number(max(cell.values))}"
    return f"{column.number(cell.mean)} ({ends})"


def headings(table: AblationTable) -> list[str]:
    """Return the headings of the table's columns, the variants first."""
    found = ["variant"]
    for place, column in enumerate(table.columns):
        found += [column.heading, *[DIFFERENCE] * table.differs(place), *[PAPER] * table.is_published(place)]
    return found


def text_rows(table: AblationTable) -> list[list[str]]:
    """Return the cells of the table's rows as text, in the order of `headings`."""
    rows = []
    for row in table.rows:
        texts = [row.label]
        for place, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
            texts.append(spread(cell, column))
            if table.differs(place):
                texts.append(REFERENCE if row.is_reference else column.signed(cell.difference))
            if table.is_published(place):
                texts.append(cell.published.text if cell.published is not None else "")
        rows.append(texts)
    return rows


def explanations(table: AblationTable) -> list[str]:
    """Return sentences that say what the numbers are."""
    lines = []
    if any(column.is_score for column in table.columns):
        of_classes = any(column.of_class for column in table.columns)
        lines.append(f"Scores are mIoU in %{'; the score of a class is its IoU in %' if of_classes else ''}.")
    if table.repeats > 1:
        lines.append("A number is the mean over the seeds, with the lowest and the highest value in brackets.")
    if any(map(table.differs, range(len(table.columns)))):
        lines.append(f"{DIFFERENCE} is the difference from {table.reference}.")
    if table.published_on:
        lines.append(
            f"The paper's numbers were measured on {table.published_on}. On other photos, compare only the order of "
            "the numbers."
        )
    if {INITIAL_CAM.key, REFINED_CAM.key} <= {column.of.score for column in table.columns}:
        initial, refined = (f"{min(CAM_POWERS[kind])} to {max(CAM_POWERS[kind])}" for kind in ("cam", "refined_cam"))
        lines.append(
            "The background score of a pixel is (1 - its largest CAM value)^p with the p of the best mIoU, as in the "
            f"authors' program: {initial} for initial CAMs, {refined} for refined CAMs. A small difference between the "
            "two may come from this choice alone."
        )
    if table.absent:
        lines.append(f"No run has these figures: {', '.join(table.absent)}.")
    lines += map(_missing_line, table.missing)
    if table.not_run:
        lines.append(f"Variants of the grid without a run so far: {_quoted(table.not_run)}.")
    return lines


def _missing_line(missing: MissingFigure) -> str:
    return f"There is no {missing.title} of {_quoted(missing.labels)}, because {missing.reason}."


def _quoted(labels: Iterable[str]) -> str:
    return ", ".join(f'"{label}"' for label in labels)


def problems(table: AblationTable) -> list[str]:
    """Return a line for each run that failed: its name and the reason."""
    return [line for row in table.rows for line in row.problems]


def findings(table: AblationTable, every: bool = True) -> list[str]:
    """Return sentences on what the table shows: the agreement with the paper, and the effect of sharpness.

    Args:
        table: the table.
        every: if false, comparisons that agree with the paper are left out.
    """
    return [*agreement_lines(table, every), *sharpness_lines(table)]
