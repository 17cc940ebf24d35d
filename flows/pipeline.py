"""The pipeline: photos and labels in, pseudo masks and a segmenter trained on them out, both scored."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from clipes.flows.flow_runs import own_flow_run
from clipes.flows.prompt_selection import choose_template
from clipes.flows.resume import told_how_to_retry
from clipes.tasks.execution.scheduler import hired_crew
from clipes.tasks.inputs.configs import resolved
from clipes.tasks.plan.shard_plan import Reuse
from clipes.tasks.plan.stages import RUN_STAGES
from clipes.tasks.report import reported_run
from clipes.tasks.runs.preparation import prepare_run
from clipes.tasks.runs.recorder import RunSummary
from clipes_core.config.run import RunConfig

Until = Annotated[str, Field(json_schema_extra={"enum": list(RUN_STAGES)})]  # drawn as a list to choose from


@flow(name="clipes", flow_run_name="{config.name}", on_running=[own_flow_run])
def pipeline(
    config: RunConfig,
    until: Until = RUN_STAGES[-1],
    fresh: bool = False,
    verify: bool = False,
    retry_errors: bool = False,
) -> RunSummary:
    """Make pseudo masks for a data set, train a segmenter on them and score both; what is there already is reused.

    Args:
        config: Everything that decides the run.
        until: The last stage to run.
        fresh: Use nothing that is in the store: all stages of this run are computed again.
        verify: Read every artifact wholly before it counts as cached; a damaged one is made again. Else it is enough
            that it opens.
        retry_errors: Compute photos again that failed for a lasting cause (missing, undecodable, ...), as after
            permissions or files were mended. Causes that may pass are tried again anyway.

    Returns:
        Where the run's files are, and its numbers.

    Raises:
        UsageError: something the user can mend before anything runs.
        StageError: shards failed; the others are done.
    """
    run = prepare_run(resolved(config), until, Reuse(fresh, verify, retry_errors))
    with told_how_to_retry(), reported_run(run) as record, hired_crew(run, record.ledger) as crew:
        record.ledger.check("manifest")
        if run.chooses_template:
            choose_template(run, record, crew)
        crew.submit("texts")
        crew.submit("cams")
        crew.submit("masks")
        crew.submit("mask_scores")
        crew.submit("segmenter")
        crew.submit("segmenter_scores")
        crew.wait()
        record.ledger.check_shards()
    return record.summary()
