"""Check a grid as a whole: its axes, figures, labels, seeds, and the published numbers that it names."""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import prod

from clipes.tasks.ablation.figures import check_figure
from clipes.tasks.ablation.grid import VARIANTS, Grid, or_similar
from clipes.tasks.ablation.settings import flat_settings
from clipes.tasks.inputs.paper.published import published_number
from clipes.tasks.stages.registry import run_names
from clipes_core.config.run import RunConfig
from clipes_core.config.suggestions import similar_key
from clipes_core.errors import ConfigError

MOST_RUNS = 1000


def problems_of_grid(grid: Grid) -> Iterator[str]:
    """Yield what is wrong with a grid whose keys and types are right, a line for each mistake."""
    if wrong := list(_problems_of_size(grid)):  # with no variants, or too many, nothing else can be checked
        yield from wrong
        return
    if grid.until is not None and grid.until not in run_names():
        yield f"until: {grid.until}: no such stage{or_similar(grid.until, run_names())}"
    yield from _conflicts(grid)
    yield from (f"needs: {problem}" for problem in map(_problem_of_key, grid.needs) if problem)
    yield from _problems_of_figures(grid)
    labels = [variant.label for variant in grid.all_variants]
    yield from (f"{label!r} is the label of {times} variants; rename one" for label, times in _repeated(labels))
    if grid.reference is not None and grid.reference not in labels:
        yield f"reference: {grid.reference}: the grid has no such variant{or_similar(grid.reference, labels)}"
    yield from _problems_of_published(grid, labels)
    lengths = {len(values) for values in grid.seeds.values()}
    if len(lengths) > 1 or 0 in lengths:
        yield "seeds: each key needs the same number of values, and at least one"


def _problems_of_size(grid: Grid) -> Iterator[str]:
    if bool(grid.axes) == bool(grid.variants):
        yield "state either axes or variants, with at least one entry"
    empty = [axis for axis, labelled in grid.axes.items() if not labelled]
    yield from (f"axes.{axis}: the axis is empty; add a label with settings, or delete the axis" for axis in empty)
    variants = prod(map(len, (grid.axes or {VARIANTS: grid.variants}).values()))
    runs = variants * max(map(len, grid.seeds.values()), default=1)
    if runs > MOST_RUNS:
        yield f"the grid has {runs:,} runs, and at most {MOST_RUNS:,} are possible: delete labels or seeds"


def _problems_of_figures(grid: Grid) -> Iterator[str]:
    yield from (f"show: {each}: the figure occurs {times} times; keep one" for each, times in _repeated(grid.show))
    for figure in dict.fromkeys(grid.show):
        if problem := check_figure(figure, grid.until):
            yield f"show: {figure}: {problem}"


def _repeated(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Return the texts that occur more than once, with their number."""
    return [(text, times) for text, times in Counter(texts).items() if times > 1]


def _problem_of_key(key: str) -> str | None:
    """Return why a config cannot have a setting; None if it can."""
    similar = similar_key(RunConfig, key.split("."))
    if key in flat_settings(RunConfig(name="any").model_dump(mode="json")):
        return None
    return f"{key}: unknown key{f'; did you mean {similar}?' if similar else ''}"


def _conflicts(grid: Grid) -> Iterator[str]:
    """Yield the settings that two axes, or an axis and the seeds, would both decide."""
    deciding: dict[str, str] = {}
    places = {f"axes.{axis}": labelled for axis, labelled in grid.axes.items()} | {"variants": grid.variants}
    for place, labelled in {**places, "seeds": {"": grid.seeds}}.items():
        for key in dict.fromkeys(key for settings in labelled.values() for key in settings):
            if (other := deciding.setdefault(key, place)) != place:
                yield f"{place}: {other} also sets {key}; delete one of the two settings"


def _problems_of_published(grid: Grid, labels: list[str]) -> Iterator[str]:
    for label, figures in grid.published.items():
        if label not in labels:
            yield f"published: {label}: the grid has no such variant{or_similar(label, labels)}"
        for figure in figures:
            if figure not in grid.show:
                yield f"published.{label}: {figure}: the grid does not show this figure; add it to show"
            elif problem := _problem_of_number(f"published.{label}.{figure}", figure, figures[figure]):
                yield problem


def _problem_of_number(place: str, figure: str, number_id: str) -> str | None:
    """Return why a published number cannot stand beside a figure; None if it can."""
    try:
        number = published_number(number_id, place)
    except ConfigError as exc:
        return str(exc)
    if number.figure == figure:
        return None
    return f"{place}: {number_id} is a number of {number.figure or 'no figure'}; name a number of {figure}"
