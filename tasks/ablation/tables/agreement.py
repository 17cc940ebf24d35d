"""Compare the order of the measured figures with the order of the paper's numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan

from clipes.tasks.ablation.figures import SHARPNESS
from clipes.tasks.ablation.tables.markdown_table import signed
from clipes.tasks.ablation.tables.table import AblationTable, Cell
from clipes_core.template_ranking import spearman

FEWEST_RANKED = 5  # a rank correlation of fewer variants says nothing


@dataclass(frozen=True)
class Comparison:
    """Two figures for which the paper reports different numbers.

    Attributes:
        what: what the two figures have in common: a figure of two variants, or a variant with two figures.
        lower: the one with the lower number in the paper.
        higher: the other one.
        paper: the numbers of the paper, the lower first.
        measured: the means of the measured values, in the same order.
        differences: measured value of the higher one minus that of the lower one, for each seed that both have.
    """

    what: str
    lower: str
    higher: str
    paper: tuple[float, float]
    measured: tuple[float, float]
    differences: tuple[float, ...]

    @property
    def agreeing(self) -> int:
        """The number of seeds with the paper's order."""
        return sum(each > 0 for each in self.differences)

    @property
    def agrees(self) -> bool:
        """True if the measured means have the order of the paper."""
        return self.measured[0] < self.measured[1]

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        numbers = "{:.1f} and {:.1f}"
        seeds = len(self.differences)
        runs = f"; in {self.agreeing} of {seeds} runs" if seeds > 1 else ""
        verdict, here = ("Agrees", "and here") if self.agrees else ("Disagrees", "but not here")
        return (
            f"{verdict} with the paper: {self.what}: {self.lower} < {self.higher} in the paper "
            f"({numbers.format(*self.paper)}), {here} ({numbers.format(*self.measured)}{runs})."
        )


def comparisons(table: AblationTable) -> list[Comparison]:
    """Compare neighbours in the paper's order: the variants in each column, then the scores of each variant."""
    found: list[Comparison] = []
    for place, column in enumerate(table.columns):
        found += _compared(column.title, [(row.label, cell) for row, cell in table.column(place)])
    for row in table.rows:
        scores = zip(table.columns, row.cells, strict=True)
        found += _compared(row.label, [(column.title, cell) for column, cell in scores if not column.of_class])
    return found


def agreement_lines(table: AblationTable, every: bool) -> list[str]:
    """Return sentences on the agreement with the paper: in how many pairs its order holds, then the single pairs.

    Args:
        table: the table. If the paper reports fewer than two comparable numbers, there are no sentences.
        every: if true, all comparisons are listed, those that disagree first; if false, only those that disagree.
    """
    compared = comparisons(table)
    if not compared:
        return []
    against, agreeing = ([each for each in compared if each.agrees is agrees] for agrees in (False, True))
    first = f"The order is the same as in the paper for {len(agreeing)} of {len(compared)} pairs of numbers."
    return [first, *(each.sentence for each in (*against, *(agreeing if every else ())))]


def sharpness_lines(table: AblationTable) -> list[str]:
    """Return sentences on the rank correlation between sharpness and each score; empty without sharpness."""
    places = {column.figure: place for place, column in enumerate(table.columns)}
    if SHARPNESS not in places or len(table.rows) < FEWEST_RANKED:
        return []
    sharpness = [cell.mean for _, cell in table.column(places[SHARPNESS])]
    lines = []
    for place, column in enumerate(table.columns):
        scores = [cell.mean for _, cell in table.column(place)]
        both = [(one, other) for one, other in zip(sharpness, scores, strict=True) if None not in (one, other)]
        if column.is_score and len(both) >= FEWEST_RANKED:
            found = spearman(*zip(*both, strict=True))
            shown = "undefined, because all values are equal" if isnan(found) else signed(found, 2)
            lines.append(
                f"Rank correlation (Spearman) of sharpness and {column.title}, {len(both)} variants: {shown}. "
                "The paper expects a negative one."
            )
    return lines


def _compared(what: str, cells: Sequence[tuple[str, Cell]]) -> Iterator[Comparison]:
    known = [(cell.paper, name, cell) for name, cell in cells if cell.paper is not None and cell.values]
    for (low, lower, first), (high, higher, second) in pairwise(sorted(known, key=lambda each: each[0])):
        if low == high or first.mean is None or second.mean is None:
            continue
        differences = tuple(
            second.by_seed[seed] - value for seed, value in first.by_seed.items() if seed in second.by_seed
        )
        if differences:
            yield Comparison(what, lower, higher, (low, high), (first.mean, second.mean), differences)
