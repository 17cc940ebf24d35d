"""The command `clipes predict`: predict masks for any photos with the segmenter of a run."""

from typing import Annotated

import typer

from clipes.flows.commands.options import DEFAULT_STORE, Name, Store, To, location
from clipes.flows.exit_codes import FAILED
from clipes.flows.terminal.consoles import err, out
from clipes.tasks.machine.terminal import announce


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
    from clipes.tasks.storage.run_status import find_run

    find_run(store, name)  # so that an unknown run is reported before torch is imported
    with announce("loading torch and MMSegmentation"):
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
