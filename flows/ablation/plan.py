"""The option `--plan` of `clipes ablate`: prepare the runs of an ablation, and count what they would do."""

from collections.abc import Sequence

from clipes.tasks.ablation.plan import RunPlan, plan_runs
from clipes.tasks.ablation.variant_runs import PlannedVariantRun
from clipes.tasks.execution.runner import runner_for
from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.machine.log import each_message_once
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.preparation import prepare_run
from clipes.tasks.runs.prepared_run import PreparedRun


def plan_ablation(runs: Sequence[PlannedVariantRun], until: str) -> list[RunPlan]:
    """Count what the runs of an ablation would reuse, share and compute. Nothing is computed.

    A message that concerns several runs, such as their number of shards, is logged once.

    Args:
        runs: the runs.
        until: their last stage.

    Raises:
        UsageError: the data set or the weights cannot be used.
    """
    listings: dict[str, Listing] = {}  # settings of a data set -> its photos; most grids have a single data set

    def prepare(run: PlannedVariantRun) -> PreparedRun:
        dataset = run.config.dataset.model_dump_json()
        if dataset not in listings:
            listings[dataset] = list_photos(run.config)
        with runner_for(run.config, writes=False) as runner:
            return prepare_run(run.config, until, listings[dataset], runner.network_workers())

    with each_message_once():
        return plan_runs(runs, prepare)
