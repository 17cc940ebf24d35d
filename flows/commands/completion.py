"""The words that a shell offers for an incomplete argument of a command."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import typer

from clipes.tasks.commands.export.formats import FORMATS
from clipes.tasks.storage.layout import runs_uri
from clipes_core.config.uri import is_uri


def complete_runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Yield the names of the runs in the store, if the store is a folder: a shell must not wait for a remote store."""
    store = ctx.params["store"]
    if store is None or is_uri(store):  # None: the value of --store is invalid
        return
    with suppress(OSError):  # there is no such folder, or it cannot be read
        names = sorted(folder.name for folder in Path(runs_uri(store)).iterdir())
        yield from (name for name in names if name.startswith(incomplete))


def complete_stages(incomplete: str) -> Iterator[str]:
    """Yield the names of the stages of `clipes run`."""
    from clipes.tasks.stages.registry import run_names

    yield from (name for name in run_names() if name.startswith(incomplete))


def complete_formats(incomplete: str) -> Iterator[str]:
    """Yield the names of the export formats."""
    yield from (name for name in FORMATS if name.startswith(incomplete))
