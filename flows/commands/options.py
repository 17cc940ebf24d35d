"""Arguments and options that several commands share."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from clipes.flows.commands.completion import complete_runs
from clipes.tasks.inputs.locations import checked_location

DEFAULT_STORE = "./clipes-store"


def location(option: str) -> Callable[[str], str]:
    """Return a function that checks the path or URI given for an option, and expands `~` in it."""
    return partial(checked_location, what=option)


def location_option(name: str, metavar: str, help_text: str) -> Any:
    """Return an option whose value is a path or URI."""
    return typer.Option(name, metavar=metavar, parser=location(name), help=help_text)


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
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_runs, help="Name of a run.")]
Store = Annotated[str, location_option("--store", "URI", "Store of artifacts and runs: a folder or URI.")]
StoreOrConfigs = Annotated[
    str | None,
    location_option("--store", "URI", "Store of artifacts and runs: a folder or URI; default: the store in CONFIG."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts, instead of a table.")]
To = Annotated[str, location_option("--to", "DIR", "Folder or URI to write the masks to.")]
ToConfig = Annotated[
    str | None,
    location_option(
        "--to", "FILE", "Path of the config to write, such as meadow.yaml, or a folder; default: the working directory."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ignore cached artifacts and compute all stages again.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read cached artifacts completely, and rebuild damaged ones.")]
RetryErrors = Annotated[
    bool,
    typer.Option("--retry-errors", help="Also retry photos that failed for a permanent cause, such as a missing file."),
]
