"""The model of a grid, which names the variants of a config that an ablation compares, and the figures to show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Annotated, Any
from unicodedata import combining, normalize

from pydantic import BeforeValidator, Field

from clipes.tasks.ablation.figures import last_stage
from clipes.tasks.ablation.settings import FlatSettings, Settings
from clipes_core.config.section import Section
from clipes_core.errors import ConfigError

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
    """The content of a grid's file. `load_grid` reads it, and `problems_of_grid` checks it as a whole.

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
            raise ConfigError(f"--only {label}: the grid {grid.name} has no such label{or_similar(label, [*known])}")
    return tuple(
        variant for variant in variants if not labels or {variant.label, *variant.labels.values()}.intersection(labels)
    )


def or_similar(name: str, known: Sequence[str]) -> str:
    """Return the end of a message about an unknown name: a similar known name, or else all of them."""
    similar = get_close_matches(name, known, n=1)
    return f"; did you mean {similar[0]}?" if similar else f"; there are: {', '.join(known)}"


def slug(label: str) -> str:
    """Return a label as part of the name of a run: lower-case letters, digits and dots, with hyphens between words.

    Letters lose their accents. Letters of scripts other than Latin are left out. If nothing is left, return "variant".
    """
    plain = "".join(each for each in normalize("NFKD", label.casefold()) if not combining(each))
    kept = "".join(each if each.isascii() and (each.isalnum() or each == ".") else " " for each in plain)
    return "-".join(kept.replace(". ", " ").strip(". ").split()) or "variant"
