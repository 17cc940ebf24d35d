"""clipes init: write a config for a folder of photos."""

from functools import partial
from typing import Annotated

import typer

from clipes.tasks.inputs.locations import checked_location
from clipes.tasks.machine.terminal import TerminalConsole


def init(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", parser=partial(checked_location, what="FOLDER"), help="Folder of your photos."
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Path of the config to write, such as meadow.yaml, or a folder for it; default: the working "
            "directory.",
            metavar="FILE",
            parser=partial(checked_location, what="--to"),
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files if they exist.")] = False,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="NAME",
            help="How the photos are labelled: coco, voc, list (a table), yolo, folders (one per class) or plain; "
            "default: as recognised.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            parser=partial(checked_location, what="--labels"),
            help="Table (.csv) or annotation file of COCO (.json) with the labels; default: what is in FOLDER.",
        ),
    ] = None,
) -> None:
    """Inspect a folder of photos, say what is uncertain, and write a config and a vocabulary for a run."""
    from clipes.flows.terminal.init_summary import print_initialised
    from clipes.tasks.commands.init.writing import initialise

    print_initialised(TerminalConsole(soft_wrap=True), initialise(folder, to, force, layout, labels))
