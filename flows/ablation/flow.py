"""Ablation: run the variants of a config that a grid names, and compare their figures."""

import logging

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from clipes.flows.flow_runs import claim_flow_run, completed, keep_sigterm_handler, wait_for_retry
from clipes.flows.pipeline import pipeline
from clipes.tasks.ablation.finished_runs import completed_run, earlier_results
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.record import record_ablation
from clipes.tasks.ablation.result import AblationResult, VariantRun
from clipes.tasks.ablation.shown_figures import left_out_line, with_known_figures
from clipes.tasks.ablation.tables.table import table_of
from clipes.tasks.ablation.tables.text_files import markdown
from clipes.tasks.ablation.variant_runs import PlannedVariantRun, check_needs, other_runs, variant_runs
from clipes.tasks.inputs.configs import resolve_config, with_date_and_time
from clipes.tasks.inputs.flow_parameter import ConfigParameter
from clipes.tasks.storage.layout import run_uri
from clipes.tasks.ui.publishing import ServerWatch, artifact_key
from clipes_core.config.run import RunConfig
from clipes_core.errors import ClipesError, ServerLostError

logger = logging.getLogger(__name__)


@flow(name="clipes-ablation", flow_run_name="{config.name}", on_running=[claim_flow_run], on_crashed=[wait_for_retry])
def ablation(config: ConfigParameter, grid: Grid, only: tuple[str, ...] = (), fresh: bool = False) -> AblationResult:
    """Run the variants of a config one after the other, each as a separate run, and compare their figures.

    The runs share the artifacts whose settings and inputs are equal. A run that fails does not stop the others. If
    `only` leaves out variants, the result also has their runs that earlier calls have completed with the same settings.

    Args:
        config: All settings that the runs have in common. Its name is the name of the ablation.
        grid: The variants, and the figures to show.
        only: Labels of the variants to run; empty for all.
        fresh: If true, each run computes all of its stages again.

    Returns:
        The runs of each variant with their figures.

    Raises:
        UsageError: the config of a run must be corrected, or the grid needs other data.
    """
    config = with_date_and_time(config)  # once, so that the ablation and its runs have the same date and time
    runs, common = variant_runs(config, grid, only), resolve_config(config)
    check_needs(common, grid)
    others = other_runs(config, grid, only)
    configs = [run.config for run in (*runs, *others)]
    if line := left_out_line(grid, *configs):
        logger.info("%s", line)
    grid = with_known_figures(grid, *configs)
    earlier = earlier_results(others, grid)
    with record_ablation(common, grid, runs, earlier) as record:
        for number, run in enumerate(runs, start=1):
            logger.info("run %d of %d: %s", number, len(runs), run.config.name)
            record.add(run_variant(run, grid, fresh))
    result = record.result
    show_table(result)
    kept = f", {len(earlier)} kept from earlier calls" if earlier else ""
    return completed(result, f"{len(runs) - len(result.failed)} of {len(runs)} runs completed{kept}")


def run_ablation(config: RunConfig, grid: Grid, only: tuple[str, ...], fresh: bool) -> AblationResult:
    """Run the flow `ablation` for the command line."""
    return keep_sigterm_handler(ablation)(config, grid, only, fresh)


def show_table(result: AblationResult) -> None:
    """Show the table of an ablation in the Prefect UI."""
    with ServerWatch("table of the ablation").tolerate_failures():
        create_markdown_artifact(markdown(table_of(result)), artifact_key(result.name, "table"), result.grid.title)


def run_variant(run: PlannedVariantRun, grid: Grid, fresh: bool) -> VariantRun:
    """Run a variant as a separate flow run, and return its metrics or why it failed."""
    config = run.config
    try:
        summary = keep_sigterm_handler(pipeline)(config, grid.last_stage, fresh)
        return completed_run(run, grid, summary.metrics, summary.report)
    except ServerLostError:
        raise
    except ClipesError as exc:
        logger.warning("run %s failed: %s", config.name, exc)
        return VariantRun(run.seed, config.name, run_uri(config.store, config.name), None, {}, str(exc))
