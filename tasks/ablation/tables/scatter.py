"""Plots of scores against sharpness, as figure 3 of the paper shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from clipes.tasks.ablation.figures import SHARPNESS
from clipes.tasks.ablation.tables.columns import Column
from clipes.tasks.ablation.tables.table import AblationTable, Cell


@dataclass(frozen=True)
class Point:
    """A variant in a plot: its label, and its position from the lower left, as shares of the width and the height."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Axis:
    """An axis of a plot: its heading, and the formatted numbers at its two ends."""

    heading: str
    low: str
    high: str


@dataclass(frozen=True)
class Scatter:
    """The plot of a score against sharpness, with one point per variant."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]


def scatters(table: AblationTable) -> list[Scatter]:
    """Return a plot for each score of an ablation that shows sharpness. A plot needs two variants that have both."""
    places = {column.figure: place for place, column in enumerate(table.columns)}
    if SHARPNESS not in places:
        return []
    scores = [place for place, column in enumerate(table.columns) if column.is_score]
    found = (_scatter(table, places[SHARPNESS], place) for place in scores)
    return [each for each in found if len(each.points) > 1]


def _scatter(table: AblationTable, x: int, y: int) -> Scatter:
    rows = [row for row in table.rows if row.cells[x].values and row.cells[y].values]
    across, up = ([row.cells[place] for row in rows] for place in (x, y))
    shares = zip(rows, _shares(across), _shares(up), strict=True)
    points = tuple(Point(row.label, *position) for row, *position in shares)
    return Scatter(_axis(table.columns[x], across), _axis(table.columns[y], up), points)


def _axis(column: Column, cells: Sequence[Cell]) -> Axis:
    means = _means(cells)
    return Axis(column.title, column.number(min(means, default=None)), column.number(max(means, default=None)))


def _shares(cells: Sequence[Cell]) -> list[float]:
    """Return where the means lie between the lowest and the highest; in the middle if all are equal."""
    means = _means(cells)
    low, high = min(means, default=0), max(means, default=0)
    return [(value - low) / (high - low) if high > low else 0.5 for value in means]


def _means(cells: Sequence[Cell]) -> list[float]:
    return [cell.mean for cell in cells if cell.mean is not None]
