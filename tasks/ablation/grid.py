"""Grids. A grid names the variants of a config that an ablation compares, and the figures that it shows of them."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import PurePath
from typing import Annotated, Any
from unicodedata import combining, normalize

import yaml
from pydantic import BeforeValidator, Field
from typing_extensions import override

from clipes.tasks.ablation.figures import check_figure, last_stage
from clipes.tasks.ablation.settings import FlatSettings, Settings, flat_settings
from clipes.tasks.inputs.config_text.yaml_text import NUMBER_TAGS, check_yaml
from clipes.tasks.inputs.paper.published import published_number
from clipes.tasks.machine.shipped_files import CONFIGS
from clipes.tasks.stages.registry import run_names
from clipes.tasks.storage.user_files import read_text
from clipes_core.config.run import RunConfig, check_section
from clipes_core.config.section import Section
from clipes_core.config.suggestions import similar_key
from clipes_core.errors import ConfigError, DatasetError

GRIDS = CONFIGS / "ablations"  # the grids that clipes ships
SUFFIXES = (".yaml", ".yml")
MOST_RUNS = 1000
VARIANTS = "variant"  # axis of a grid that lists its variants


@dataclass(frozen=True)
class Variant:
    """A variant of a config.

    Attributes:
        label: label of the variant, unique in its grid.
        labels: axis -> label on this axis. The variants of a list have the axis VARIANTS.
        settings: the settings that distinguish the variant.
    """

    label: str
    labels: Mapping[str, str]
    settings: Settings


def _one_line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


def _labelled(value: Any) -> Any:
    """Check the labels of a mapping; None stands for no labels."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("expected labels and settings, such as {MHSA: {cam.refine: mhsa}}")
    if wrong := [key for key in value if not isinstance(key, str)]:
        raise ValueError(f"YAML reads a label as {wrong[0]}; put it in quotes")
    if wrong := [key for key in value if not key.strip() or not key.isprintable()]:
        raise ValueError(f"{wrong[0]!r} is not a label; use printable characters")
    return value


def _listed(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError("expected a list, such as [initial_cam, pseudo_mask]")
    return value


Line = Annotated[str, BeforeValidator(_one_line)]
Labelled = Annotated[dict[str, FlatSettings], BeforeValidator(_labelled)]
ByLabel = Annotated[dict[str, dict[str, str]], BeforeValidator(_labelled)]


class Grid(Section):
    """The content of a grid's file; `load_grid` also checks it as a whole.

    A grid has either `axes`, whose combinations are its variants, or a list of `variants`.
    """

    name: str = Field(description="Name of the file without its extension.")
    title: Line = Field(description="Heading of the table.")
    about: Line | None = Field(None, description="What the table compares; shown below the heading.")
    paper: Line | None = Field(None, description="What the paper says about it; shown below the table.")
    until: str | None = Field(None, description="Last stage of the runs. null: the last stage that `show` needs.")
    settings: FlatSettings = Field(default_factory=dict, description="Settings of all variants: dotted key -> value.")
    axes: Annotated[dict[str, Labelled], BeforeValidator(_labelled)] = Field(
        default_factory=dict, description="Axis -> label -> settings."
    )
    variants: Labelled = Field(default_factory=dict, description="Label of a variant -> its settings.")
    seeds: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Key of a seed -> its values. Each variant has a run for each value; several keys change together.",
    )
    reference: str | None = Field(
        None, description="Label of the variant with which the others are compared. null: the first variant."
    )
    show: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="The figures; see `clipes.tasks.ablation.figures`."
    )
    published: ByLabel = Field(
        default_factory=dict, description="Label of a variant -> figure -> id of a number in configs/published.yaml."
    )
    needs: FlatSettings = Field(
        default_factory=dict, description="Settings that the config must have: dotted key -> value, or list of values."
    )

    @property
    def all_variants(self) -> tuple[Variant, ...]:
        """The variants, in the order of the file; the last axis changes first."""
        if self.variants:
            return tuple(Variant(label, {VARIANTS: label}, own) for label, own in self.variants.items())
        points = product(*(labelled.items() for labelled in self.axes.values()))
        return tuple(self._variant(point) for point in points)

    def _variant(self, point: tuple[tuple[str, Settings], ...]) -> Variant:
        labels = [label for label, _ in point]
        settings = {key: value for _, own in point for key, value in own.items()}
        return Variant(", ".join(labels), dict(zip(self.axes, labels, strict=True)), settings)

    @property
    def slugs(self) -> dict[str, str]:
        """The label of each variant -> its part of the names of its runs. Variants with equal parts are numbered."""
        parts = {variant.label: slug(variant.label) for variant in self.all_variants}
        times = Counter(parts.values())
        return {
            label: f"{part}-{number}" if times[part] > 1 else part
            for number, (label, part) in enumerate(parts.items(), start=1)
        }

    @property
    def reference_label(self) -> str:
        """The label of the variant with which the others are compared."""
        return self.reference or self.all_variants[0].label

    @property
    def last_stage(self) -> str:
        """The last stage of the runs."""
        return self.until or last_stage(self.show)

    @property
    def all_seeds(self) -> tuple[Settings, ...]:
        """The settings of each run of a variant; one empty mapping if the grid has no seeds."""
        if not self.seeds:
            return ({},)
        return tuple(dict(zip(self.seeds, values, strict=True)) for values in zip(*self.seeds.values(), strict=True))


def load_grid(name: str) -> Grid:
    """Read and check a grid.

    Args:
        name: name of a grid that clipes ships, or path or URI of a YAML file.

    Raises:
        ConfigError: there is no such grid, or it has a mistake. The message has one line per mistake.
    """
    place = name if "/" in name or name.endswith(SUFFIXES) else str(GRIDS / f"{name}.yaml")
    values = _read(name, place)
    try:
        grid = check_section(Grid, {**values, "name": PurePath(place).stem})
    except ConfigError as exc:
        raise ConfigError("\n".join(f"{place}: {line}" for line in str(exc).splitlines())) from exc
    if problems := list(_problems(grid)):
        raise ConfigError("\n".join(f"{place}: {problem}" for problem in problems))
    return grid


def chosen_variants(grid: Grid, labels: tuple[str, ...]) -> tuple[Variant, ...]:
    """Return the variants with these labels, in the order of the grid; all if no label is given.

    Args:
        grid: the grid.
        labels: labels of variants, or labels on an axis, which choose all variants with them.

    Raises:
        ConfigError: no variant has one of the labels.
    """
    variants = grid.all_variants
    known = dict.fromkeys(label for variant in variants for label in (variant.label, *variant.labels.values()))
    for label in labels:
        if label not in known:
            raise ConfigError(f"--only {label}: the grid {grid.name} has no such label{_or_similar(label, [*known])}")
    return tuple(
        variant for variant in variants if not labels or {variant.label, *variant.labels.values()}.intersection(labels)
    )


class _KeysAsWritten(yaml.SafeLoader):
    """Loads YAML like `yaml.safe_load`, but a key that YAML reads as a number stays as it is written, such as 010."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)  # adds the keys of `<<`
        for key, _ in node.value:
            if key.tag in NUMBER_TAGS:
                key.tag = self.DEFAULT_SCALAR_TAG
        return super().construct_mapping(node, deep)


def _read(name: str, place: str) -> dict[str, Any]:
    try:
        text = read_text(place)
        check_yaml(text)
        values = yaml.load(text, Loader=_KeysAsWritten)
    except FileNotFoundError as exc:
        shipped = sorted(file.stem for file in GRIDS.glob("*.yaml"))
        advice = _or_similar(name, shipped) if place != name else "; name a YAML file, or a grid that clipes ships"
        raise ConfigError(f"--grid {name}: there is no such grid{advice}") from exc
    except DatasetError as exc:
        raise ConfigError(f"--grid {name}: {exc}") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise ConfigError(f"{place}: cannot be read as YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: expected keys such as title, axes and show")
    for key in values:
        if not isinstance(key, str) or key == "name":
            raise ConfigError(f"{place}: {key}: unknown key; delete it")
    return values


def _or_similar(name: str, known: list[str]) -> str:
    similar = get_close_matches(name, known, n=1)
    return f"; did you mean {similar[0]}?" if similar else f"; there are: {', '.join(known)}"


def _problems(grid: Grid) -> Iterator[str]:
    """Yield what is wrong with a grid whose keys and types are right."""
    if bool(grid.axes) == bool(grid.variants):
        yield "state either axes or variants, with at least one entry"
        return
    empty = [axis for axis, labelled in grid.axes.items() if not labelled]
    yield from (f"axes.{axis}: the axis is empty; add a label with settings, or delete the axis" for axis in empty)
    if empty:
        return
    runs = prod(map(len, (grid.axes or {VARIANTS: grid.variants}).values())) * max(
        map(len, grid.seeds.values()), default=1
    )
    if runs > MOST_RUNS:
        yield f"the grid has {runs:,} runs, and at most {MOST_RUNS:,} are possible: delete labels or seeds"
        return
    if grid.until is not None and grid.until not in run_names():
        yield f"until: {grid.until}: no such stage{_or_similar(grid.until, list(run_names()))}"
    yield from _conflicts(grid)
    labels = [variant.label for variant in grid.all_variants]
    yield from (f"needs: {problem}" for problem in map(_problem_of_key, grid.needs) if problem)
    for figure, times in Counter(grid.show).items():
        if times > 1:
            yield f"show: {figure}: the figure occurs {times} times; keep one of them"
        if problem := check_figure(figure, grid.until):
            yield f"show: {figure}: {problem}"
    if grid.reference is not None and grid.reference not in labels:
        yield f"reference: {grid.reference}: the grid has no such variant{_or_similar(grid.reference, labels)}"
    yield from _problems_of_published(grid, labels)
    lengths = {len(values) for values in grid.seeds.values()}
    if len(lengths) > 1 or 0 in lengths:
        yield "seeds: each key needs the same number of values, and at least one"


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
            yield f"published: {label}: the grid has no such variant{_or_similar(label, labels)}"
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


def slug(label: str) -> str:
    """Return a label as part of the name of a run: lower-case letters, digits and dots, with hyphens between words.

    Letters lose their accents. Letters of scripts other than Latin are left out. If nothing is left, return "variant".
    """
    plain = "".join(each for each in normalize("NFKD", label.casefold()) if not combining(each))
    kept = "".join(each if each.isascii() and (each.isalnum() or each == ".") else " " for each in plain)
    return "-".join(kept.replace(". ", " ").strip(". ").split()) or "variant"
