"""Arguments and options that several commands share."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from clipes.tasks.inputs.locations import checked_location

DEFAULT_STORE = "./clipes-store"


def location(option: str) -> Callable[[str], str]:
    """Return a function that checks the path or URI given for an option, and expands `~` in it."""
    return partial(checked_location, what=option)


Config = Annotated[
    str, typer.Argument(metavar="CONFIG", parser=location("CONFIG"), help="YAML file that configures the run.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a config key, e.g. cam.power=1; may be given several times. The value is plain text, unless it "
        "starts with a quote or a bracket. The word null means no value.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a run.")]
Store = Annotated[
    str,
    typer.Option(
        "--store", metavar="URI", parser=location("--store"), help="Store of artifacts and runs: a folder or URI."
    ),
]
StoreOrConfigs = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        parser=location("--store"),
        help="Store of artifacts and runs: a folder or URI; default: the store in CONFIG.",
    ),
]
To = Annotated[
    str, typer.Option("--to", metavar="DIR", parser=location("--to"), help="Folder or URI to write the masks to.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore cached artifacts and compute all stages again.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read cached artifacts completely, and rebuild damaged ones.")]
RetryErrors = Annotated[
    bool,
    typer.Option("--retry-errors", help="Also retry photos that failed for a permanent cause, such as a missing file."),
]
