"""The option `--plan` of an ablation: count what its runs would do, with each shared artifact counted once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clipes.tasks.ablation.variant_runs import PlannedVariantRun
from clipes.tasks.runs.dry_run import StagePlan, plan_run
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes_core.errors import TransientError, WeightsError


@dataclass(frozen=True)
class RunPlan:
    """What a run of an ablation would do.

    Attributes:
        name: name of the run.
        stages: the counts of its stages; rows that an earlier run makes are shared.
        problem: why the run cannot be planned, for example because its weights are those of another model; None if it
            can be.
        missing_weights: name of CLIP's weights if they are not on this machine; otherwise empty. All rows that need the
            weights then count as computed.
    """

    name: str
    stages: tuple[StagePlan, ...]
    problem: str | None = None
    missing_weights: str = ""


def plan_runs(runs: Iterable[PlannedVariantRun], prepare: Callable[[PlannedVariantRun], PreparedRun]) -> list[RunPlan]:
    """Plan the runs of an ablation one after the other, in the order in which they would run.

    Args:
        runs: the runs.
        prepare: function that prepares a run.
    """
    earlier: set[str] = set()

    def plan(run: PlannedVariantRun) -> RunPlan:
        try:
            prepared = prepare(run)
            stages = tuple(plan_run(prepared, earlier))
            return RunPlan(run.config.name, stages, missing_weights=prepared.missing_weights)
        except (WeightsError, TransientError) as exc:
            return RunPlan(run.config.name, (), str(exc))

    return [plan(run) for run in runs]
