"""The command `clipes prompts`: rank prompt templates."""

from typing import Annotated

import typer

from clipes.flows.commands.options import Config, Fresh, RetryErrors, Set, StoreOrConfigs, Verify, location
from clipes.flows.exit_codes import explain_resume
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce


def prompts(
    config: Config,
    overrides: Set = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the ranking; default: the name in CONFIG with -prompts appended.")
    ] = None,
    store: StoreOrConfigs = None,
    templates: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            parser=location("--templates"),
            help="File with one template per line; default: the 82 templates of clipes.",
        ),
    ] = None,
    with_miou: Annotated[
        bool, typer.Option("--with-miou", help="Also score the CAMs of some templates against true masks.")
    ] = False,
    miou_templates: Annotated[
        int,
        typer.Option(
            min=2, help="With --with-miou: number of templates (evenly spaced in the ranking) whose CAMs are scored."
        ),
    ] = 20,
    miou_photos: Annotated[
        int, typer.Option(min=1, help="With --with-miou: number of photos on which CAMs are scored.")
    ] = 64,
    fresh: Fresh = False,
    verify: Verify = False,
    retry_errors: RetryErrors = False,
) -> None:
    """Rank prompt templates by sharpness (lower is better). To resume a ranking, repeat the command."""
    from clipes.tasks.inputs.configs import load_config
    from clipes.tasks.inputs.templates import read_templates, shipped_templates

    given = {key: value for key, value in {"name": name, "store": store}.items() if value is not None}
    loaded = load_config(config, overrides or (), given)
    if name is None:  # The ranking must not replace the files of a run with the same name.
        loaded = loaded.model_copy(update={"name": f"{loaded.name}-prompts"})
    candidates = read_templates(templates) if templates is not None else shipped_templates()
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.runs.inputs.checks import check_inputs, check_store

    check_runner(loaded)  # so that a mistake is reported before a server starts
    check_inputs(loaded)
    check_store(loaded, writes=True)
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while the flow is imported.
        with announce("loading the ranking"):
            from clipes.flows.flow_runs import keep_sigterm_handler
            from clipes.flows.rankings.templates import prompt_selection
            from clipes.flows.terminal.rankings.template_tables import print_selection

        flow, scored = keep_sigterm_handler(prompt_selection), miou_templates if with_miou else 0
        with explain_resume():
            selection = server.record(
                lambda resumes: flow(
                    loaded, candidates, scored, miou_photos, fresh and not resumes, verify, retry_errors
                )
            )
    print_selection(out, selection, verify)
