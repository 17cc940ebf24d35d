"""The command line: clipes run, estimate, prompts, status, runs, report, export, predict, gc, ui, doctor."""

import os
import time
from typing import Annotated

import typer

from clipes import __version__
from clipes.flows.commands.start.init import init
from clipes.flows.exit_codes import FAILED, Commands, err, exit_codes, explain_resume
from clipes.flows.options import (
    DEFAULT_STORE,
    Config,
    Fresh,
    Name,
    RetryErrors,
    Set,
    Store,
    StoreOrConfigs,
    To,
    Verify,
    location,
)
from clipes.tasks.commands.export.formats import DEFAULT_FORMAT, FORMATS, SEGMENTER_FORMAT, export_run
from clipes.tasks.machine.interruption import handle_signals
from clipes.tasks.machine.log import show_log
from clipes.tasks.machine.prefect_server import load_prefect
from clipes.tasks.machine.terminal import TerminalConsole, prepare_streams
from clipes_core.errors import UsageError

# Prefect reads these variables when it is imported. The user's environment takes precedence.
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command itself reports failures
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # also failures of threads that send logs and events to the server
}.items():
    os.environ.setdefault(_name, _value)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = TerminalConsole(soft_wrap=True)

FORMATS_HELP = "; ".join(f"{name}: {entry.contents}" for name, entry in FORMATS.items())


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"clipes {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit."),
    ] = False,
) -> None:
    """Turn photos with image-level labels into segmentation masks, with a frozen CLIP."""


app.command()(init)


@app.command()
def run(
    config: Config,
    overrides: Set = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; default: the name in CONFIG.")] = None,
    store: StoreOrConfigs = None,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Last stage to run; without this option, all stages run.")
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
    from clipes.tasks.runs.preparation import check_request, check_store, list_photos, prepare_run
    from clipes.tasks.stages.registry import STAGES, run_names

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
        from clipes.flows.terminal.result_tables import print_plan
        from clipes.tasks.runs.dry_run import plan_run

        plans = plan_run(prepared)
        print_plan(out, plans, verify, prepared.rejects)
        if prepared.chooses_template and STAGES[plans[-1].stage].ranks_templates:
            out.print("prompts.template is auto: the plan ends here, because the run must first choose the template")
        return
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while torch is imported.
        from clipes.flows.flow_runs import keep_sigterm_handler
        from clipes.flows.pipeline import pipeline
        from clipes.flows.terminal.result_tables import print_summary

        flow = keep_sigterm_handler(pipeline)
        with explain_resume():
            summary = server.record(lambda resumes: flow(loaded, until, fresh and not resumes, verify, retry_errors))
    print_summary(out, summary, verify)


@app.command()
def estimate(
    config: Config,
    overrides: Set = None,
    store: StoreOrConfigs = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Number of photos to measure. GPUs need some hundred to show their speed.")
    ] = 24,
    photos: Annotated[
        int | None, typer.Option(min=1, help="Number of photos of the run; default: the photos of the data set.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="Number of GPUs of the run; default: the GPUs of this machine.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Number of processor cores of the run; default: those of this machine.")
    ] = None,
) -> None:
    """Measure a sample of a data set, and forecast the time, memory and storage of the run."""
    from clipes.tasks.inputs.configs import read_config, resolve_config

    stated = read_config(config, overrides or (), {} if store is None else {"store": store})
    from clipes.tasks.commands.estimate.sample import without_placeholders

    loaded = resolve_config(without_placeholders(stated))
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.runs.preparation import check_request, check_store
    from clipes.tasks.stages.registry import run_names

    check_runner(loaded)
    check_request(loaded, run_names()[-1])
    check_store(loaded, writes=True)
    from clipes.flows.estimation import Request, make_estimate
    from clipes.flows.terminal.estimate_table import print_estimate

    print_estimate(out, make_estimate(loaded, Request(sample, photos, gpus, cores)))


@app.command()
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
    from clipes.tasks.runs.preparation import check_data_set, check_store

    check_runner(loaded)  # so that a mistake is reported before a server starts
    check_data_set(loaded)
    check_store(loaded, writes=True)
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while torch is imported.
        from clipes.flows.flow_runs import keep_sigterm_handler
        from clipes.flows.prompt_selection import prompt_selection
        from clipes.flows.terminal.result_tables import print_selection

        flow, scored = keep_sigterm_handler(prompt_selection), miou_templates if with_miou else 0
        with explain_resume():
            selection = server.record(
                lambda resumes: flow(
                    loaded, candidates, scored, miou_photos, fresh and not resumes, verify, retry_errors
                )
            )
    print_selection(out, selection, verify)


@app.command()
def status(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Show the progress of a run, or how it ended."""
    from clipes.flows.terminal.result_tables import print_status
    from clipes.tasks.storage.run_status import read_run

    print_status(out, read_run(store, name))


@app.command()
def runs(store: Store = DEFAULT_STORE) -> None:
    """List the runs in a store, the last started first."""
    from clipes.flows.terminal.runs_table import print_runs
    from clipes.tasks.storage.run_status import read_runs

    if not (found := read_runs(store)):
        raise UsageError(f"no runs in {store}: name another store with --store")
    print_runs(out, found)


@app.command()
def report(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Rewrite a run's report.html and print its path."""
    load_prefect()
    from clipes.tasks.report.report_file import write_report

    out.print(f"report: {write_report(store, name)}")


@app.command()
def export(
    name: Name,
    to: To,
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help=f"Export format. {FORMATS_HELP}. Default: {DEFAULT_FORMAT}."),
    ] = None,
    ignore_below: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Set pixels of pseudo masks to 255 (ignore) if their confidence is below this value; 0: set no pixel.",
        ),
    ] = 0.95,
    segmenter: Annotated[bool, typer.Option("--segmenter", help=f"Same as --format {SEGMENTER_FORMAT}.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write the masks of a run as files that other programs can read."""
    if segmenter and format_name not in (None, SEGMENTER_FORMAT):
        raise UsageError(f"--segmenter means --format {SEGMENTER_FORMAT}, not {format_name}: leave out one of the two")
    chosen = SEGMENTER_FORMAT if segmenter else format_name or DEFAULT_FORMAT
    exported = export_run(chosen, store, name, to, ignore_below)
    from clipes.flows.terminal.result_tables import print_exported

    print_exported(out, exported, name, to)


@app.command()
def predict(
    name: Name,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            parser=location("IMAGES"),
            help="Paths or URIs of photos and folders; a folder stands for all photos below it.",
        ),
    ],
    to: To,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write each photo with its mask drawn over it.")
    ] = False,
    store: Store = DEFAULT_STORE,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Predict masks for any photos with the segmenter of a run, and write the masks as palette PNGs."""
    from clipes.tasks.commands.predictions import PredictionRequest, predict

    written, failed = 0, 0
    for photo in predict(store, name, PredictionRequest(tuple(images), to, overlay, device)):
        if photo.reason is None:
            written += 1
        else:
            failed += 1
            err.print(f"clipes: {photo.reason}")
    out.print(f"{written} masks in {to}, {failed} photos without a mask")
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def gc(
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Keep files that are younger than this age, e.g. 7d or 12h.")
    ] = "7d",
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete the files. Without --yes, clipes only shows what it would delete.")
    ] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Delete artifacts that no run uses. The artifacts of active runs and of runs that can be resumed are kept."""
    from clipes.flows.terminal.result_tables import print_garbage
    from clipes.tasks.commands.garbage import counted_garbage, find_garbage, remove_garbage, seconds_of

    search = remove_garbage if yes else find_garbage
    found = search(store, seconds_of(older_than), time.time())
    print_garbage(out, counted_garbage(found), removed=yes)


@app.command()
def ui() -> None:
    """Keep the Prefect server and its UI, which shows all runs, available until Ctrl-C."""
    load_prefect()
    from clipes.flows.server import keep_server

    keep_server(lambda url: out.print(f"Prefect UI: {url.removesuffix('/api')} (Ctrl-C ends this command)"))


@app.command()
def doctor(
    store: Store = DEFAULT_STORE,
    pretrained: Annotated[
        str,
        typer.Option(
            parser=location("--pretrained"),
            help="Weights to check; accepts the same values as the config key clip.pretrained.",
        ),
    ] = "openai",
    model: Annotated[
        str, typer.Option(help="Name of the network that the weights belong to, as in the config key clip.model.")
    ] = "ViT-B-16-quickgelu",
    overrides: Set = None,
) -> None:
    """Check what works on this machine, or on a cluster (--set execution.runner.kind=ray), and how to fix the rest."""
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.inputs.configs import config_of_overrides

    values = {"name": "doctor", "store": store, "clip": {"model": model, "pretrained": pretrained}}
    config = config_of_overrides(values, overrides or ())
    runner = check_runner(config)  # so that a mistake is reported before the examination, which takes seconds
    from clipes.flows.terminal.result_tables import print_findings
    from clipes.tasks.commands.doctor import Finding, examine

    findings = [*examine(config.store, config.clip), *(Finding(*each) for each in runner.examine(config))]
    if not print_findings(out, findings):
        raise typer.Exit(FAILED)


def main() -> None:
    """Run the clipes command, turning errors into messages and exit codes."""
    prepare_streams()
    show_log()
    with exit_codes():
        handle_signals()
        app()
