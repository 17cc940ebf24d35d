"""The command `clipes run`: make pseudo masks, and train a segmenter on them."""

from typing import Annotated

import typer

from clipes.flows.commands.completion import complete_stages
from clipes.flows.commands.options import Config, Fresh, RetryErrors, Set, StoreOrConfigs, Verify
from clipes.flows.exit_codes import explain_resume
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce


def run(
    config: Config,
    overrides: Set = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; default: the name in CONFIG.")] = None,
    store: StoreOrConfigs = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            autocompletion=complete_stages,
            help="Last stage to run; without this option, all stages run. The stages are: {stages}.",
        ),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what the run would reuse and compute, and exit.")] = False,
    fresh: Fresh = False,
    verify: Verify = False,
    retry_errors: RetryErrors = False,
) -> None:
    """Make pseudo masks, train a segmenter on them, and score both. To resume a run, repeat the command."""
    from clipes.tasks.inputs.configs import load_config

    given = {key: value for key, value in {"name": name, "store": store}.items() if value is not None}
    loaded = load_config(config, overrides or (), given)
    # These imports are late, so that clipes reports mistakes in the config before it loads pyarrow, and mistakes in the
    # arguments before it loads torch.
    from clipes.tasks.execution.runner import check_runner, runner_for
    from clipes.tasks.runs.inputs.checks import check_request, check_store
    from clipes.tasks.runs.inputs.photos import list_photos
    from clipes.tasks.runs.preparation import prepare_run
    from clipes.tasks.stages.registry import ranking_of, run_names

    until = until or run_names()[-1]
    check_runner(loaded)
    check_request(loaded, until)
    check_store(loaded, writes=not plan)
    if plan:
        from clipes.tasks.plan.caching import Reuse

        listing = list_photos(loaded)
        with runner_for(loaded, writes=False) as runner:
            reuse = Reuse(fresh, verify, retry_errors)
            prepared = prepare_run(loaded, until, listing, runner.network_workers(), reuse)
        from clipes.flows.terminal.result_tables import print_missing_weights, print_plan
        from clipes.tasks.runs.dry_run import plan_run

        plans = plan_run(prepared)
        print_plan(out, plans, verify, prepared.rejects)
        print_missing_weights(out, [prepared.missing_weights])
        if prepared.chooses_template and ranking_of(plans[-1].stage) is not None:
            out.print("prompts.template is auto: the plan ends here, because the run must first choose the template")
        return
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while the pipeline is imported.
        with announce("loading the pipeline"):
            from clipes.flows.flow_runs import keep_sigterm_handler
            from clipes.flows.pipeline import pipeline
            from clipes.flows.terminal.result_tables import print_summary

        flow = keep_sigterm_handler(pipeline)
        with explain_resume():
            summary = server.record(lambda resumes: flow(loaded, until, fresh and not resumes, verify, retry_errors))
    print_summary(out, summary, verify)
