"""The HTML page of an ablation: the table, and each figure with bars. It needs no network; Jinja escapes every text."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

from clipes.tasks.ablation.tables.columns import Column
from clipes.tasks.ablation.tables.scatter import scatters
from clipes.tasks.ablation.tables.table import AblationTable, Cell, Row
from clipes.tasks.ablation.tables.wording import explanations, findings, headings, problems, spread, text_rows
from clipes.tasks.report.templates import page_environment
from clipes.tasks.storage.layout import REPORT_FILE

TEMPLATE = "ablation.html.jinja"


@dataclass(frozen=True)
class Bar:
    """A cell as a bar.

    Attributes:
        row: the variant.
        cell: the cell.
        number: its mean, formatted.
        spread: its mean with the lowest and the highest value, formatted.
        difference: its difference from the reference, formatted; empty if the reference was not run.
        better: whether the variant is better than the reference; None if it is neither better nor worse.
        length: length of the bar, as a share of the longest possible.
        ends: where the lowest and the highest value lie, as such shares; None if there is only one value.
        paper: where the paper's number lies, as such a share; None if there is none.
    """

    row: Row
    cell: Cell
    number: str
    spread: str
    difference: str
    better: bool | None
    length: float
    ends: tuple[float, float] | None
    paper: float | None


@dataclass(frozen=True)
class Chart:
    """A column as bars."""

    column: Column
    bars: tuple[Bar, ...]
    has_paper: bool


def page(table: AblationTable) -> str:
    """Return the HTML page of an ablation. It links the reports of the runs by paths relative to its folder."""
    charts = [_chart(table, place) for place in range(len(table.columns))]
    template = page_environment(Path(__file__).parent).get_template(TEMPLATE)
    return template.render(
        table=table,
        headings=headings(table),
        rows=list(zip(table.rows, text_rows(table), strict=True)),
        explanations=explanations(table),
        findings=findings(table),
        problems=problems(table),
        charts=[chart for chart in charts if not chart.column.of_class],
        classes=[chart for chart in charts if chart.column.of_class],
        scatters=scatters(table),
        links={run.name: link_of(run.name) for row in table.rows for run in row.runs if run.report is not None},
    )


def link_of(name: str) -> str:
    """Return the path of the report of a run, relative to the folder of another run."""
    return posixpath.join("..", name, REPORT_FILE)


def _chart(table: AblationTable, place: int) -> Chart:
    column, cells = table.columns[place], table.column(place)
    numbers = [number for _, cell in cells for number in (*cell.values, cell.paper) if number is not None]
    longest = 100.0 if column.is_score else max(numbers) or 1.0
    return Chart(column, tuple(_bar(row, cell, column, longest) for row, cell in cells), table.is_published(place))


def _bar(row: Row, cell: Cell, column: Column, longest: float) -> Bar:
    several = len(cell.values) > 1
    better = None
    if cell.difference:
        better = (cell.difference > 0) == column.unit.higher_is_better
    return Bar(
        row=row,
        cell=cell,
        number=column.number(cell.mean),
        spread=spread(cell, column),
        difference="reference" if row.is_reference else column.signed(cell.difference),
        better=better,
        length=(cell.mean or 0) / longest,
        ends=(min(cell.values) / longest, max(cell.values) / longest) if several else None,
        paper=cell.paper / longest if cell.paper is not None else None,
    )
