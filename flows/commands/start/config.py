"""The command `clipes config`: print the settings of a config, or a page about all settings."""

from typing import Annotated

import typer

from clipes.flows.commands.options import Set, StoreOrConfigs, location
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import UsageError


def config(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]", parser=location("CONFIG"), show_default=False, help="YAML file that configures the run."
        ),
    ] = None,
    overrides: Set = None,
    store: StoreOrConfigs = None,
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Print every setting, with absolute paths. clipes run accepts the result."),
    ] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print a page in Markdown about all settings; needs no CONFIG.")
    ] = False,
) -> None:
    """Print the settings that a config states, and their defaults."""
    if reference:
        with announce("describing the settings"):
            from clipes.tasks.inputs.config_text.reference import reference_page

            text = reference_page()
    elif config is None:
        raise UsageError("name a CONFIG, or add --reference for a page about all settings")
    else:
        with announce("reading the config"):
            from clipes.tasks.inputs.config_text.written import complete_yaml, given_yaml
            from clipes.tasks.inputs.configs import read_config, resolve_config

            stated = read_config(config, overrides or (), {} if store is None else {"store": store}, runs_here=False)
            if resolved:
                text = complete_yaml(resolve_config(stated).model_copy(update={"name": stated.name}))
            else:
                text = given_yaml(stated)
    out.print(text, end="")
