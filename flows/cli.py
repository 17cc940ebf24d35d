"""The command line. Each command is a module of `clipes.flows.commands`."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from clipes import __version__
from clipes.flows.commands.command import Command
from clipes.flows.commands.maintenance.doctor import doctor
from clipes.flows.commands.maintenance.gc import gc
from clipes.flows.commands.results.export import export
from clipes.flows.commands.results.predict import predict
from clipes.flows.commands.results.report import report
from clipes.flows.commands.results.runs import runs
from clipes.flows.commands.results.status import status
from clipes.flows.commands.results.ui import ui
from clipes.flows.commands.start.ablate import ablate
from clipes.flows.commands.start.check import check
from clipes.flows.commands.start.config import config
from clipes.flows.commands.start.estimate import estimate
from clipes.flows.commands.start.init import init
from clipes.flows.commands.start.prompts import prompts
from clipes.flows.commands.start.reproduce import reproduce
from clipes.flows.commands.start.run import run
from clipes.flows.commands.start.synonyms import synonyms
from clipes.flows.exit_codes import Commands, exit_codes
from clipes.flows.prefect_settings import choose_settings
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.interruption import handle_signals
from clipes.tasks.machine.log import show_log
from clipes.tasks.machine.terminal import prepare_streams

choose_settings(os.environ)  # before any module imports Prefect

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {  # title in the help -> the commands below it
    "Make masks": (init, check, config, run, estimate, prompts, synonyms, ablate, reproduce),
    "See and use the results": (status, runs, report, export, predict, ui),
    "Look after the machine and the store": (doctor, gc),
}

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
for title, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=title)(command)


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


def main() -> None:
    """Run the clipes command, turning errors into messages and exit codes."""
    prepare_streams()
    show_log()
    with exit_codes():
        handle_signals()
        app(prog_name="clipes")
