"""The command `clipes check`: report what is wrong with a config before a run spends time."""

import typer

from clipes.flows.commands.options import Config, Set, StoreOrConfigs
from clipes.flows.exit_codes import BAD_USAGE
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce


def check(config: Config, overrides: Set = None, store: StoreOrConfigs = None) -> None:
    """Check the photos, labels, weights and settings of a config, without a GPU and before a run spends time."""
    with announce("reading the config"):
        from clipes.tasks.execution.runner import check_runner
        from clipes.tasks.inputs.configs import load_config

        loaded = load_config(config, overrides or (), {} if store is None else {"store": store})
        check_runner(loaded)
        from clipes.flows.terminal.check_lines import print_check
        from clipes.tasks.commands.check.checks import check_config

    if not print_check(out, check_config(loaded)):
        raise typer.Exit(BAD_USAGE)
