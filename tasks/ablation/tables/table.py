"""The table of an ablation: one row per variant, one column per figure, with the paper's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes.tasks.ablation.tables.columns import Column, column_of
from clipes.tasks.inputs.paper.published import PublishedNumber, published_number


@dataclass(frozen=True)
class Cell:
    """A figure of a variant. All numbers have the unit of the column.

    Attributes:
        by_seed: seed, as text -> value of its run, without the runs that have none.
        difference: mean difference from the reference variant, over the seeds that both have; None if there is none, or
            if this is the reference.
        published: the number of the paper; None if there is none.
    """

    by_seed: Mapping[str, float]
    difference: float | None
    published: PublishedNumber | None

    @property
    def values(self) -> tuple[float, ...]:
        """The value of each run that has one."""
        return tuple(self.by_seed.values())

    @property
    def mean(self) -> float | None:
        """The mean over the runs; None if no run has a value."""
        return mean(self.values) if self.values else None

    @property
    def paper(self) -> float | None:
        """The number of the paper; None if there is none."""
        return self.published.value if self.published is not None else None


@dataclass(frozen=True)
class Row:
    """A variant: its label, whether it is the reference, its cells in the order of the columns, and its runs."""

    label: str
    is_reference: bool
    cells: tuple[Cell, ...]
    runs: tuple[VariantRun, ...]

    @property
    def problems(self) -> list[str]:
        """A line for each run that failed: its name and the reason."""
        return [f"{run.name} failed: {run.failed}" for run in self.runs if run.failed is not None]


@dataclass(frozen=True)
class MissingFigure:
    """A figure that variants do not have because of their settings: its title, the reason, and their labels."""

    title: str
    reason: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class AblationTable:
    """The table of an ablation.

    Attributes:
        name: name of the ablation.
        title: what the ablation is about, in a line.
        about: what the table compares; may be empty.
        paper: what the paper says about it; may be empty.
        data: the photos, in a line.
        published_on: the data set and split of the paper's numbers; empty if the table has none.
        columns: the figures of which at least one run has a value.
        absent: titles of the figures of which no run has a value.
        missing: the figures that variants do not have because of their settings.
        not_run: labels of the variants of the grid without a run so far.
        rows: the variants that have runs.
    """

    name: str
    title: str
    about: str
    paper: str
    data: str
    published_on: str
    columns: tuple[Column, ...]
    absent: tuple[str, ...]
    missing: tuple[MissingFigure, ...]
    not_run: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def reference(self) -> str:
        """The label of the row that the differences refer to; empty if this variant was not run."""
        return next((row.label for row in self.rows if row.is_reference), "")

    @property
    def repeats(self) -> int:
        """The number of runs of a variant: 1 without seeds."""
        return max(len(row.runs) for row in self.rows)

    def column(self, place: int) -> list[tuple[Row, Cell]]:
        """Return the rows, each with its cell in a column."""
        return [(row, row.cells[place]) for row in self.rows]

    def differs(self, place: int) -> bool:
        """Return whether a variant differs from the reference in a column."""
        return any(cell.difference for _, cell in self.column(place))

    def is_published(self, place: int) -> bool:
        """Return whether the paper reports a number of a column."""
        return any(cell.published is not None for _, cell in self.column(place))


def table_of(result: AblationResult) -> AblationTable:
    """Make the table of an ablation from the metrics of its runs. Columns without any value are left out."""
    figures = [column_of(figure) for figure in result.grid.show]
    columns = tuple(each for each in figures if any(one.values(each.figure) for one in result.variants))
    published = {
        label: {figure: published_number(number, f"{result.grid.title}: published") for figure, number in ids.items()}
        for label, ids in result.grid.published.items()
    }
    shown = {column.figure for column in columns}
    ran = {one.variant.label for one in result.variants}
    measured_on = {
        f"{number.data} {number.split}"
        for of_variant in published.values()
        for figure, number in of_variant.items()
        if figure in shown
    }
    return AblationTable(
        name=result.name,
        title=result.grid.title,
        about=result.grid.about or "",
        paper=result.grid.paper or "",
        data=result.data,
        published_on=" and ".join(sorted(measured_on)),
        columns=columns,
        absent=tuple(each.title for each in figures if each not in columns),
        missing=_missing_figures(result, figures),
        not_run=tuple(each.label for each in result.grid.all_variants if each.label not in ran),
        rows=tuple(
            _row(one, result.reference, columns, published.get(one.variant.label, {})) for one in result.variants
        ),
    )


def _missing_figures(result: AblationResult, figures: Sequence[Column]) -> tuple[MissingFigure, ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for figure in dict.fromkeys(column.of.score or column.figure for column in figures):
        for one in result.variants:
            for reason in dict.fromkeys(run.missing[figure] for run in one.runs if figure in run.missing):
                found.setdefault((column_of(figure).title, reason), []).append(one.variant.label)
    return tuple(MissingFigure(title, reason, tuple(labels)) for (title, reason), labels in found.items())


def _row(
    variant: VariantResult,
    reference: VariantResult | None,
    columns: Sequence[Column],
    published: Mapping[str, PublishedNumber],
) -> Row:
    cells = tuple(_cell(variant, reference, column, published.get(column.figure)) for column in columns)
    return Row(variant.variant.label, variant is reference, cells, variant.runs)


def _cell(
    variant: VariantResult, reference: VariantResult | None, column: Column, published: PublishedNumber | None
) -> Cell:
    factor = column.unit.factor
    differences: tuple[float, ...] = ()
    if reference is not None and reference is not variant:
        differences = variant.differences(column.figure, reference)
    return Cell(
        by_seed={seed: factor * value for seed, value in variant.by_seed(column.figure).items()},
        difference=factor * mean(differences) if differences else None,
        published=published,
    )
