"""The result of an ablation: the runs of its variants, and their figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clipes.tasks.ablation.figures import value_of
from clipes.tasks.ablation.grid import Grid, Variant
from clipes_core.config.run import check_section
from clipes_core.errors import StageError


@dataclass(frozen=True)
class VariantRun:
    """A run of a variant.

    Attributes:
        seed: settings of the run's seed; empty if the grid has no seeds.
        name: name of the run.
        uri: URI of the run's folder.
        report: URI of its report.html; None if there is none.
        metrics: content of its metrics.json, without the entries of `missing`, and with the entry `sharpness` if the
            grid shows it; empty if the run failed.
        failed: why the run failed; None if it has completed.
        missing: figure -> why a run with these settings does not have it.
    """

    seed: Mapping[str, Any]
    name: str
    uri: str
    report: str | None
    metrics: Mapping[str, Any]
    failed: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VariantResult:
    """A variant and its runs, one for each seed of the grid."""

    variant: Variant
    runs: tuple[VariantRun, ...]

    def by_seed(self, figure: str) -> dict[str, float]:
        """Return a figure of each run, by its seed as text, without the runs that do not have it."""
        found = {str(dict(run.seed)): value_of(run.metrics, figure) for run in self.runs}
        return {seed: value for seed, value in found.items() if value is not None}

    def values(self, figure: str) -> tuple[float, ...]:
        """Return a figure of each run, without the runs that do not have it."""
        return tuple(self.by_seed(figure).values())

    def differences(self, figure: str, reference: "VariantResult") -> tuple[float, ...]:
        """Return how much a figure of each run exceeds that of the reference's run with the same seed.

        Seeds that only one of the variants has are left out. While an ablation runs, its last variant lacks some.
        """
        own, others = self.by_seed(figure), reference.by_seed(figure)
        return tuple(value - others[seed] for seed, value in own.items() if seed in others)


@dataclass(frozen=True)
class AblationResult:
    """The outcome of an ablation.

    Attributes:
        grid: the grid.
        name: name of the ablation.
        uri: URI of the ablation's folder.
        data: the data set in a line: its format and the number of photos.
        variants: the variants that ran, in the order of the grid.
    """

    grid: Grid
    name: str
    uri: str
    data: str
    variants: tuple[VariantResult, ...]

    @property
    def reference(self) -> VariantResult | None:
        """The variant with which the others are compared; None if it did not run."""
        return next((each for each in self.variants if each.variant.label == self.grid.reference_label), None)

    @property
    def failed(self) -> tuple[VariantRun, ...]:
        """The runs that failed."""
        return tuple(run for each in self.variants for run in each.runs if run.failed is not None)

    @property
    def failure(self) -> str | None:
        """How many runs failed; None if all have completed."""
        runs = sum(len(each.runs) for each in self.variants)
        return f"{len(self.failed)} of {runs} runs failed; the first is {self.failed[0].name}" if self.failed else None

    def check(self) -> None:
        """Raise StageError if a run failed."""
        if self.failure:
            raise StageError(self.failure)


def result_json(result: AblationResult) -> dict[str, Any]:
    """Return a result as plain values, for ablation.json."""
    return {**asdict(result), "grid": result.grid.model_dump(mode="json")}


def result_of_json(content: Mapping[str, Any]) -> AblationResult:
    """Return the result that `result_json` has written.

    Raises:
        ConfigError: the grid has keys that this version of clipes does not know.
    """
    variants = tuple(
        VariantResult(Variant(**each["variant"]), tuple(VariantRun(**run) for run in each["runs"]))
        for each in content["variants"]
    )
    grid = check_section(Grid, content["grid"])
    return AblationResult(grid, content["name"], content["uri"], content["data"], variants)
