"""The columns of an ablation's table: the title and the unit of each figure."""

from dataclasses import dataclass

from clipes.tasks.ablation.figures import SHARPNESS, Figure, parse_figure
from clipes.tasks.ablation.tables.markdown_table import MISSING, signed
from clipes.tasks.stages.registry import STAGES
from clipes_core.evaluation.scored import SCORED, Scored


@dataclass(frozen=True)
class Unit:
    """How a figure is shown.

    Attributes:
        name: unit of the numbers that are shown; empty if they have none.
        factor: factor from the figure's value to the number that is shown.
        digits: digits behind the decimal point.
        higher_is_better: whether a higher number is better.
    """

    name: str
    factor: float = 1
    digits: int = 1
    higher_is_better: bool = False


SCORE = Unit("%", 100, higher_is_better=True)
OF_STAGES = {  # second part of a figure of a stage -> title and unit
    "seconds": ("time per {}", Unit("ms", 1000)),
    "memory": ("memory", Unit("MiB", digits=0)),
    "gpu_memory": ("GPU memory", Unit("MiB", digits=0)),
}


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        figure: name of the figure, as a grid spells it.
        of: what the figure is of.
        title: heading of the column.
        unit: how its numbers are shown.
    """

    figure: str
    of: Figure
    title: str
    unit: Unit

    @property
    def is_score(self) -> bool:
        """True for a mIoU and for the IoU of a class."""
        return self.of.score is not None

    @property
    def of_class(self) -> bool:
        """True for the IoU of a class."""
        return self.of.of_class is not None

    @property
    def heading(self) -> str:
        """The title, with the unit unless it is %."""
        return self.title if self.is_score or not self.unit.name else f"{self.title} [{self.unit.name}]"

    def number(self, value: float | None) -> str:
        """Format a number of the column."""
        return MISSING if value is None else f"{value:.{self.unit.digits}f}"

    def signed(self, difference: float | None) -> str:
        """Format a difference between two numbers of the column."""
        return MISSING if difference is None else signed(difference, self.unit.digits)


def column_of(figure: str) -> Column:
    """Return the column of a figure.

    Raises:
        ValueError: there is no such figure.
    """
    parsed = parse_figure(figure)
    if parsed is None:
        raise ValueError(f"{figure} is no figure")
    if parsed.cost:
        title, unit = OF_STAGES[parsed.cost]
        kind = STAGES[parsed.stage].kind
        row = "photo" if kind.per_photo else kind.unit.removesuffix("s") or "text"
        return Column(figure, parsed, f"{parsed.stage}: {title.format(row)}", unit)
    if parsed.score:
        title = next(_short_title(each) for each in SCORED if each.key == parsed.score)
        return Column(figure, parsed, f"{parsed.of_class} ({title})" if parsed.of_class else title, SCORE)
    return Column(figure, parsed, SHARPNESS, Unit("", digits=4))


def _short_title(scored: Scored) -> str:
    """Return the title of a kind of prediction without its first capital and without the remark in brackets."""
    title = scored.title.partition(" (")[0]
    return title[0].lower() + title[1:]
