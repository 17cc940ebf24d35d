"""The command `clipes init`: write a config and a vocabulary for a folder of photos."""

from typing import Annotated

import typer

from clipes.flows.commands.options import ToConfig, location, location_option
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce


def init(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", parser=location("FOLDER"), help="Folder of your photos.")],
    to: ToConfig = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files if they exist.")] = False,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="NAME",
            help="How the photos are labelled: coco, voc, list (a table), yolo, folders (one per class) or plain; "
            "default: the layout that clipes recognises.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        location_option(
            "--labels",
            "FILE",
            "Table (.csv) or annotation file of COCO (.json) with the labels; default: a file in or next to FOLDER.",
        ),
    ] = None,
) -> None:
    """Inspect a folder of photos, say what is uncertain, and write a config and a vocabulary for a run."""
    with announce("inspecting the folder"):
        from clipes.flows.terminal.init_summary import print_initialised
        from clipes.tasks.commands.init.writing import initialise

        done = initialise(folder, to, force, layout, labels)
    print_initialised(out, done)
