"""The command `clipes doctor`: check what works on this machine or on a cluster."""

from typing import Annotated

import typer

from clipes.flows.commands.options import DEFAULT_STORE, Set, Store, location
from clipes.flows.exit_codes import FAILED
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce


def doctor(
    store: Store = DEFAULT_STORE,
    pretrained: Annotated[
        str,
        typer.Option(
            parser=location("--pretrained"),
            help="Weights to check; accepts the same values as the config key clip.pretrained.",
        ),
    ] = "openai",
    model: Annotated[
        str, typer.Option(help="Name of the network that the weights belong to, as in the config key clip.model.")
    ] = "ViT-B-16-quickgelu",
    overrides: Set = None,
) -> None:
    """Check whether clipes can run on this machine, or on a cluster (--set execution.runner.kind=ray)."""
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.inputs.configs import config_of_overrides

    values = {"name": "doctor", "store": store, "clip": {"model": model, "pretrained": pretrained}}
    config = config_of_overrides(values, overrides or ())
    runner = check_runner(config)  # so that a mistake is reported before the examination, which takes seconds
    from clipes.flows.terminal.check_lines import print_findings
    from clipes.tasks.commands.finding import Finding

    with announce("examining this machine"):
        from clipes.tasks.commands.doctor import examine

        findings = [*examine(config.store, config.clip), *(Finding(*each) for each in runner.examine(config))]
    if print_findings(out, findings, what_width=2 + max(len(each.what) for each in findings))[False]:
        raise typer.Exit(FAILED)
