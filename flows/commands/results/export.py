"""The command `clipes export`: write the masks of a run as files that other programs can read."""

from typing import Annotated

import typer

from clipes.flows.commands.completion import complete_formats
from clipes.flows.commands.options import DEFAULT_STORE, Name, Store, To
from clipes.flows.terminal.consoles import out
from clipes.tasks.commands.export.formats import (
    DEFAULT_FORMAT,
    FORMATS,
    SEGMENTER_FORMAT,
    TO_CHECK,
    ExportOptions,
    export_run,
)
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import UsageError

FORMATS_HELP = "; ".join(f"{name}: {entry.contents}" for name, entry in FORMATS.items())


def export(
    name: Name,
    to: To,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            autocompletion=complete_formats,
            help=f"Export format. {FORMATS_HELP}. Default: {DEFAULT_FORMAT}.",
        ),
    ] = None,
    ignore_below: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Set pixels of pseudo masks to 255 (ignore) if their confidence is below this value; 0 sets none.",
        ),
    ] = 0.95,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also write the confidence map of each mask.")
    ] = False,
    photos: Annotated[bool, typer.Option("--photos", help="Also copy the photos.")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar=TO_CHECK,
            help="Export only the photos whose masks are probably wrong, with the reasons in to-check.csv.",
        ),
    ] = None,
    segmenter: Annotated[bool, typer.Option("--segmenter", help=f"Same as --format {SEGMENTER_FORMAT}.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Write the masks of a run as files that other programs can read."""
    if segmenter and format_name not in (None, SEGMENTER_FORMAT):
        raise UsageError(f"--segmenter means --format {SEGMENTER_FORMAT}, not {format_name}: leave out one of the two")
    chosen = SEGMENTER_FORMAT if segmenter else format_name or DEFAULT_FORMAT
    with announce("exporting the masks"):
        exported = export_run(chosen, store, name, to, ignore_below, ExportOptions(confidence, photos, only))
    from clipes.flows.terminal.result_tables import print_exported

    print_exported(out, exported, name, to)
