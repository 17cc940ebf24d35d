"""The runs of an ablation: one for each variant and seed of its grid, each with its own name and config."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clipes.tasks.ablation.figures import stage_of
from clipes.tasks.ablation.grid import Grid, Variant, chosen_variants, slug
from clipes.tasks.ablation.settings import Settings, flat_settings, nested_settings
from clipes.tasks.inputs.config_text.overrides import parse_override
from clipes.tasks.inputs.configs import config_of_values, read_config, with_date_and_time
from clipes.tasks.runs.inputs.checks import check_request
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.run import NAME_LENGTH, RunConfig
from clipes_core.errors import ConfigError


@dataclass(frozen=True)
class PlannedVariantRun:
    """A run of an ablation that has not started.

    Attributes:
        variant: its variant.
        seed: settings of its seed; empty if the grid has no seeds.
        config: its config, with paths resolved.
    """

    variant: Variant
    seed: Settings
    config: RunConfig


def ablation_config(path: str, overrides: Iterable[str], grid: Grid, given: Mapping[str, Any]) -> RunConfig:
    """Read the config that all runs of an ablation share. Its name is that of the ablation, with the date and time.

    The settings of the grid replace those of the file, and `overrides` replace both.

    Args:
        path: path or URI of the YAML file.
        overrides: strings `key=value`, as for `read_config`.
        grid: the grid.
        given: `name` of the ablation and `store`, if they are not those of the file.

    Raises:
        ConfigError: as for `read_config`; or the grid varies a setting of `overrides`.
    """
    overrides = tuple(overrides)
    own = check_overrides(overrides, grid)
    common = {key: value for key, value in grid.settings.items() if not any(_overlap(key, other) for other in own)}
    named = given if "name" in given else {**given, "name": f"{read_config(path, overrides).name}-{slug(grid.name)}"}
    config = read_config(path, overrides, named)
    if common:
        try:
            config = read_config(path, overrides, {**nested_settings(common), **named})
        except ConfigError as exc:
            raise ConfigError(_of_grid(grid, "settings", exc)) from exc
    return with_date_and_time(config)


def check_overrides(overrides: Iterable[str], grid: Grid) -> Settings:
    """Return the settings of strings `key=value`; raise ConfigError if the grid varies one of them."""
    own: dict[str, Any] = {}
    for override in overrides:
        own |= flat_settings(parse_override(override))
    varied = {key for variant in grid.all_variants for key in variant.settings} | grid.seeds.keys()
    for key in own:
        if clash := sorted(other for other in varied if _overlap(key, other)):
            raise ConfigError(f"--set {key}: the grid {grid.name} itself varies {clash[0]}; leave out this option")
    return own


def variant_runs(config: RunConfig, grid: Grid, only: tuple[str, ...] = ()) -> tuple[PlannedVariantRun, ...]:
    """Return the runs of an ablation, in the order of the grid, and check the config of each of them.

    Args:
        config: the config that the runs have in common, with the name of the ablation and without {date} and {time}.
        grid: the grid.
        only: labels of the variants that run, as for `chosen_variants`; empty for all.

    Raises:
        UsageError: a label is unknown, the config of a run cannot be used, or two runs of the grid have the same name,
            also if `only` leaves one of them out. The message names the variants.
    """
    runs, faults, slugs = list[PlannedVariantRun](), dict[str, None](), grid.slugs
    for variant in chosen_variants(grid, only):
        try:
            runs += _runs_of(variant, slugs[variant.label], config, grid)
        except ConfigError as exc:
            faults[_of_grid(grid, variant.label, exc)] = None
    if faults:
        raise ConfigError("\n".join(faults))
    _check_names((*runs, *other_runs(config, grid, only)) if only else runs, grid)
    return tuple(runs)


def other_runs(config: RunConfig, grid: Grid, only: tuple[str, ...]) -> tuple[PlannedVariantRun, ...]:
    """Return the runs of the variants that `only` leaves out, apart from variants whose config cannot be used.

    The arguments are those of `variant_runs`.
    """
    chosen = {variant.label for variant in chosen_variants(grid, only)}
    runs, slugs = list[PlannedVariantRun](), grid.slugs
    for variant in grid.all_variants:
        if variant.label not in chosen:
            with suppress(ConfigError):  # such a variant has no runs
                runs += _runs_of(variant, slugs[variant.label], config, grid)
    return tuple(runs)


def _runs_of(variant: Variant, part: str, config: RunConfig, grid: Grid) -> Iterator[PlannedVariantRun]:
    """Yield a run of a variant for each seed; raise ConfigError if a config cannot be used."""
    values = config.model_dump(mode="json", exclude_unset=True)
    for seed in grid.all_seeds:
        changes = {**nested_settings({**variant.settings, **seed}), "name": run_name(config.name, part, seed)}
        yield PlannedVariantRun(variant, seed, _checked(config_of_values(values, changes), grid))


def run_name(ablation: str, part: str, seed: Settings) -> str:
    """Return the name of a run: the name of the ablation, the part that stands for its variant, and its seed.

    Args:
        ablation: name of the ablation.
        part: the part of the variant; see `Grid.slugs`.
        seed: settings of the seed.

    Raises:
        ConfigError: the name is too long.
    """
    name = "-".join([ablation, part, *(slug(str(value)) for value in seed.values())])
    if len(name) > NAME_LENGTH:
        raise ConfigError(
            f"the name of the run has {len(name)} characters, and at most {NAME_LENGTH} are possible: shorten the "
            "label or the values of the seeds, or choose a shorter --name"
        )
    return name


def _check_names(runs: Iterable[PlannedVariantRun], grid: Grid) -> None:
    """Raise ConfigError if two runs have the same name, since one would replace the files of the other."""
    by_name: dict[str, PlannedVariantRun] = {}
    for run in runs:
        other = by_name.setdefault(run.config.name, run)
        if other is not run:
            raise ConfigError(
                f"grid {grid.name}: {_described(other)} and {_described(run)} would both have the name "
                f"{run.config.name}: rename a variant, or change a seed"
            )


def _described(run: PlannedVariantRun) -> str:
    return " ".join([repr(run.variant.label), *(f"{key}={value}" for key, value in run.seed.items())])


def check_needs(config: RunConfig, grid: Grid) -> None:
    """Raise ConfigError if the config does not have a setting that the grid needs."""
    values = flat_settings(config.model_dump(mode="json"))
    for key, wanted in grid.needs.items():
        accepted = wanted if isinstance(wanted, list | tuple) else [wanted]
        if values.get(key) not in accepted:
            needed = " or ".join(str(value) for value in accepted)
            raise ConfigError(
                f"the grid {grid.name} needs {key}={needed}, but the config has {values.get(key)}: "
                "choose another config, or add --plan to see what would run"
            )


def _checked(config: RunConfig, grid: Grid) -> RunConfig:
    """Return the config of a run that has all stages of the figures; raise ConfigError if it cannot be used."""
    for figure in grid.show:
        missing = STAGES[stage_of(figure) or ""].left_out_by(config)
        if missing is not None:
            raise ConfigError(f"{figure}: the config leaves out the stage {missing.name}; set {missing.enabled_by}")
    check_request(config, grid.last_stage)
    return config


def _overlap(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _of_grid(grid: Grid, place: str, error: ConfigError) -> str:
    return "\n".join(f"grid {grid.name}: {place}: {line}" for line in str(error).splitlines())
