"""The command line: clipes run, prompts, status, report, export, predict, gc, doctor."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from clipes.tasks.commands.export.formats import DEFAULT_FORMAT, FORMATS, SEGMENTER_FORMAT, export_run
from clipes.tasks.machine.log import show_log
from clipes_core.errors import ClipesError, StageError, UsageError

# Read by Prefect when it is imported; what the user sets goes first.
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # failures are told by the command itself
}.items():
    os.environ.setdefault(_name, _value)

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="From photos with image-level labels to segmentation masks with a frozen CLIP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file of the run.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. cam.power=1.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a run.")]
Store = Annotated[str, typer.Option("--store", metavar="URI", help="Where artifacts and runs are.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Use nothing that is there: compute all stages of this run.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read what is there wholly before it counts as cached.")]
RetryErrors = Annotated[
    bool, typer.Option("--retry-errors", help="Compute photos again that failed for a lasting cause.")
]
DEFAULT_STORE = "./clipes-store"
FORMATS_HELP = "; ".join(f"{name}: {entry.contents}" for name, entry in FORMATS.items())


@app.command()
def run(
    config: Config,
    overrides: Set = None,
    name: Annotated[str | None, typer.Option(help="Name of the run, instead of the config's.")] = None,
    store: Annotated[str | None, typer.Option(metavar="URI", help="Store, instead of the config's.")] = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Last stage to run.")] = "segmenter_scores",
    plan: Annotated[bool, typer.Option("--plan", help="Show what is cached, copied and computed; do nothing.")] = False,
    fresh: Fresh = False,
    verify: Verify = False,
    retry_errors: RetryErrors = False,
) -> None:
    """Make pseudo masks, train a segmenter on them, score both. What is there already is reused: this also resumes."""
    from clipes.tasks.inputs.configs import load_config

    given = {key: value for key, value in {"name": name, "store": store}.items() if value is not None}
    loaded = load_config(config, overrides or (), given)
    # Only now: a mistake in the configuration is told before pyarrow is imported, one in the request before torch is.
    from clipes.tasks.runs.preparation import check_request, prepare_run

    check_request(loaded, until)
    if plan:
        from clipes.tasks.plan.shard_plan import Reuse

        prepared = prepare_run(loaded, until, Reuse(fresh, verify, retry_errors))
        from clipes.flows.tables import print_plan
        from clipes.tasks.runs.dry_run import plan_run

        plans = plan_run(prepared)
        print_plan(out, plans, verify)
        if prepared.chooses_template and plans[-1].stage == "prompts":
            out.print("prompts.template auto is not chosen yet: the stages that stand on it are planned when it is")
        return
    from clipes.flows.server import prefect_server

    with prefect_server() as server:  # which starts while torch is imported
        from clipes.flows.pipeline import pipeline
        from clipes.flows.tables import print_summary

        with _told_how_to_resume():
            summary = server.recorded(
                lambda goes_on: pipeline(loaded, until, fresh and not goes_on, verify, retry_errors)
            )
    print_summary(out, summary, verify)


@app.command()
def prompts(
    config: Config,
    overrides: Set = None,
    name: Annotated[str | None, typer.Option(help="Name of the ranking; default: the config's and -prompts.")] = None,
    store: Annotated[str | None, typer.Option(metavar="URI", help="Store, instead of the config's.")] = None,
    templates: Annotated[
        str | None, typer.Option(metavar="FILE", help="Templates, one a line; default: the 82 that are shipped.")
    ] = None,
    with_miou: Annotated[
        bool, typer.Option("--with-miou", help="Score the CAMs of a sample of templates against true masks.")
    ] = False,
    miou_templates: Annotated[int, typer.Option(min=2, help="Size of that sample, spread over the ranking.")] = 20,
    miou_photos: Annotated[int, typer.Option(min=1, help="Photos with truth to score it on.")] = 64,
    fresh: Fresh = False,
    verify: Verify = False,
    retry_errors: RetryErrors = False,
) -> None:
    """Rank templates by sharpness (lower is better). Each photo is encoded once; what is there already is reused."""
    from clipes.tasks.inputs.configs import load_config
    from clipes.tasks.inputs.templates import read_templates, shipped_templates

    given = {key: value for key, value in {"name": name, "store": store}.items() if value is not None}
    loaded = load_config(config, overrides or (), given)
    if name is None:  # a run of this name keeps its files
        loaded = loaded.model_copy(update={"name": f"{loaded.name}-prompts"})
    candidates = read_templates(templates) if templates is not None else shipped_templates()
    from clipes.tasks.runs.preparation import checked_vocabulary

    checked_vocabulary(loaded)  # before a server is started
    from clipes.flows.server import prefect_server

    with prefect_server() as server:  # which starts while torch is imported
        from clipes.flows.prompt_selection import prompt_selection
        from clipes.flows.tables import print_selection

        scored = miou_templates if with_miou else 0
        with _told_how_to_resume():
            selection = server.recorded(
                lambda goes_on: prompt_selection(
                    loaded, candidates, scored, miou_photos, fresh and not goes_on, verify, retry_errors
                )
            )
    print_selection(out, selection, verify)


@app.command()
def status(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Show how far a run is, or how it ended."""
    from clipes.flows.tables import print_status
    from clipes.tasks.storage.run_status import read_run

    print_status(out, read_run(store, name))


@app.command()
def report(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Write a run's report.html again and say where it is."""
    from clipes.tasks.report import write_report

    out.print(f"report: {write_report(store, name)}", markup=False)


@app.command()
def export(
    name: Name,
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="Target folder or URI.")],
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help=f"{FORMATS_HELP}. Default: {DEFAULT_FORMAT}.")
    ] = None,
    ignore_below: Annotated[
        float,
        typer.Option(min=0, max=1, help="Pixels of pseudo masks with a lower confidence become 255; 0 keeps all."),
    ] = 0.95,
    segmenter: Annotated[bool, typer.Option("--segmenter", help=f"Same as --format {SEGMENTER_FORMAT}.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write the masks of a run as files that other programs read."""
    if segmenter and format_name not in (None, SEGMENTER_FORMAT):
        raise UsageError(f"--segmenter means --format {SEGMENTER_FORMAT}, not {format_name}: give one of them")
    chosen = SEGMENTER_FORMAT if segmenter else format_name or DEFAULT_FORMAT
    exported = export_run(chosen, store, name, to, ignore_below)
    out.print(f"{exported.written} masks in {to}, {exported.left_out} photos without one (see rejects.parquet)")


@app.command()
def predict(
    name: Name,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES...", help="Photos, or folders for all below: paths or URIs.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="Folder or URI that the masks go to.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Write each photo under its mask, too.")] = False,
    store: Store = DEFAULT_STORE,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, mps.")] = "auto",
) -> None:
    """Write masks of any photos as palette PNGs, with the segmenter that a run has trained."""
    from clipes.tasks.commands.predictions import PredictionRequest, predict

    written, failed = 0, 0
    for photo in predict(store, name, PredictionRequest(tuple(images), to, overlay, device)):
        if photo.reason is None:
            written += 1
        else:
            failed += 1
            err.print(f"clipes: {photo.reason}", markup=False)
    out.print(f"{written} masks in {to}, {failed} photos without one", markup=False)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def gc(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Spare what is younger: 7d, 12h.")] = "7d",
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; else it is only shown.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Delete artifacts that no run uses. Those of runs that may go on or be resumed stay."""
    from clipes.flows.tables import print_garbage
    from clipes.tasks.commands.garbage import counted_garbage, find_garbage, remove_garbage, seconds_of
    from clipes.tasks.storage.artifact_store import ArtifactStore

    artifacts = ArtifactStore(store)
    found = find_garbage(artifacts, seconds_of(older_than), time.time())
    if yes:
        remove_garbage(artifacts, found)
    print_garbage(out, counted_garbage(found), removed=yes)


@app.command()
def doctor(
    store: Store = DEFAULT_STORE,
    pretrained: Annotated[str, typer.Option(help="Weights to look for, as clip.pretrained.")] = "openai",
    model: Annotated[str, typer.Option(help="Their network, as clip.model.")] = "ViT-B-16-quickgelu",
) -> None:
    """Say what works here, what does not, and what to do."""
    from clipes.flows.tables import print_findings
    from clipes.tasks.commands.doctor import examine
    from clipes_core.config.run import ClipConfig

    if not print_findings(out, examine(store, ClipConfig(model=model, pretrained=pretrained))):
        raise typer.Exit(FAILED)


def main() -> None:
    """The clipes command: errors become a message and an exit code."""
    show_log()
    with _exit_codes():
        signal.signal(signal.SIGTERM, _interrupted)
        app()


def _interrupted(*_: object) -> None:
    """What a scheduler's SIGTERM does to a command: the same as Ctrl-C."""
    raise SystemExit(INTERRUPTED)


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except UsageError as exc:
        _end(BAD_USAGE, str(exc))
    except ClipesError as exc:
        _end(FAILED, str(exc))
    except OSError as exc:
        _end(FAILED, f"{type(exc).__name__}: {exc}")
    except SystemExit as exc:
        if exc.code == INTERRUPTED:
            _end(INTERRUPTED, "interrupted; what is done is kept: run the same command again to resume")
        raise


@contextmanager
def _told_how_to_resume() -> Iterator[None]:
    try:
        yield
    except StageError as exc:
        again = [argument for argument in sys.argv[1:] if argument != "--fresh"]  # what it has made is kept
        raise StageError(f"{exc}\nWhat is done is kept. To resume: {shlex.join(['clipes', *again])}") from exc


def _end(code: int, message: str) -> None:
    for line in message.splitlines():
        err.print(f"clipes: {line}", markup=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
