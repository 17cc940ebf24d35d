"""The figures of a grid that a data set can have: those of no class, and those of its own classes."""

from collections.abc import Iterable
from difflib import get_close_matches

from clipes.tasks.ablation.figures import class_of
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError

BACKGROUND = "background"
SIMILAR = 0.75  # of two names, at least: boot and boat, but not car and cat


def with_known_figures(grid: Grid, *configs: RunConfig) -> Grid:
    """Return the grid without the figures of classes that no vocabulary has.

    Args:
        grid: the grid.
        configs: configs of its runs. Without those of all runs, the grid must not vary the vocabulary.

    Raises:
        ConfigError: the vocabularies have the class of none of the figures.
    """
    classes = _classes(configs)
    known = tuple(figure for figure in grid.show if (class_of(figure) or BACKGROUND) in classes)
    if not known:
        missing = _missing_classes(grid, classes)
        raise ConfigError(f"grid {grid.name}: show: the data set has no {missing}; show a figure that it has")
    return grid.model_copy(update={"show": known})


def left_out_line(grid: Grid, *configs: RunConfig) -> str | None:
    """Return a line on the figures that `with_known_figures` leaves out; None if there are none."""
    missing = _missing_classes(grid, _classes(configs))
    return f"the data set has no {missing}; these columns are left out" if missing else None


def _classes(configs: Iterable[RunConfig]) -> tuple[str, ...]:
    """Return the classes of all vocabularies of these configs, the background first."""
    vocabularies = {str(config.dataset.classes): config for config in configs}
    return tuple(
        dict.fromkeys([BACKGROUND, *(each for one in vocabularies.values() for each in checked_vocabulary(one).ids)])
    )


def _missing_classes(grid: Grid, known: tuple[str, ...]) -> str:
    """Return the classes of figures that are not known, each with a known class of a similar name, if any."""
    named = dict.fromkeys(class_of(figure) or BACKGROUND for figure in grid.show)
    return ", ".join(f"{each}{_hint(each, known)}" for each in named if each not in known)


def _hint(name: str, known: Iterable[str]) -> str:
    similar = get_close_matches(name, [*known], n=1, cutoff=SIMILAR)
    return f" (did you mean {similar[0]}?)" if similar else ""
