"""The pipeline: make pseudo masks from photos and labels, train a segmenter on the masks, and score both."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from clipes.flows.flow_runs import claim_flow_run, completed, wait_for_retry
from clipes.flows.resume_advice import explain_retry
from clipes.tasks.execution.runner import check_runner, runner_for
from clipes.tasks.execution.scheduler import scheduler_for
from clipes.tasks.inputs.configs import resolve_config
from clipes.tasks.inputs.flow_parameter import ConfigParameter
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.report.report_file import report_run
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.inputs.checks import check_request
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.preparation import prepare_run
from clipes.tasks.runs.record.recorder import RunSummary
from clipes.tasks.runs.training_trial import check_training
from clipes.tasks.stages.registry import MANIFEST, run_names
from clipes.tasks.ui.result_message import result_message

LAST_STAGE = run_names()[-1]
Until = Annotated[str, Field(json_schema_extra={"enum": list(run_names())})]  # the UI shows it as a drop-down list


@flow(name="clipes", flow_run_name="{config.name}", on_running=[claim_flow_run], on_crashed=[wait_for_retry])
def pipeline(
    config: ConfigParameter,
    until: Until = LAST_STAGE,
    fresh: bool = False,
    verify: bool = False,
    retry_errors: bool = False,
) -> RunSummary:
    """Make pseudo masks for a data set, train a segmenter on the masks, and score both.

    The run reuses the results that the store already holds.

    Args:
        config: All settings of the run.
        until: The last stage to run.
        fresh: If true, reuse nothing from the store, and compute all stages of this run again.
        verify: If true, read every artifact completely before it counts as cached, and rebuild damaged artifacts. If
            false, check most artifacts by their Parquet footer only.
        retry_errors: If true, also retry photos that failed for a permanent cause, such as a missing or damaged file.
            Use this after repairing files or permissions. Photos that failed for a transient cause are always
            retried.

    Returns:
        The metrics of the run, and the location of its files.

    Raises:
        UsageError: the config, the data set or the weights must be corrected before the run can start.
        StageError: some shards failed, or too many photos failed. Finished shards are kept.
    """
    config = resolve_config(config)
    check_runner(config)
    check_request(config, until)
    listing = list_photos(config)
    with runner_for(config, photos=listing.photos) as runner:
        run = prepare_run(config, until, listing, runner.network_workers(), Reuse(fresh, verify, retry_errors))
        check_training(run)
        with explain_retry(), report_run(run) as record, scheduler_for(run, record.ledger, runner) as scheduler:
            check_failure_rate(record.ledger, MANIFEST)
            if run.chooses_template:
                from clipes.flows.rankings.templates import choose_template  # defines a flow, which takes a moment

                run = choose_template(run, record, scheduler)
            scheduler.submit(run, "texts")
            scheduler.submit(run, "cams")
            scheduler.submit(run, "masks")
            scheduler.submit(run, "true_masks")
            scheduler.submit(run, "mask_scores")
            scheduler.submit(run, "evaluation_true_masks")
            scheduler.submit(run, "segmenter")
            scheduler.submit(run, "segmenter_agreement")
            scheduler.submit(run, "segmenter_scores")
            scheduler.wait()
    summary = record.summary()
    return completed(summary, result_message(summary, record.ledger))
