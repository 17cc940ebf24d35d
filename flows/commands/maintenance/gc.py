"""The command `clipes gc`: delete artifacts that no run uses."""

import time
from typing import Annotated

import typer

from clipes.flows.commands.options import DEFAULT_STORE, Store
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce


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
    with announce("searching the store"):
        counts = counted_garbage(search(store, seconds_of(older_than), time.time()))
    print_garbage(out, counts, removed=yes)
