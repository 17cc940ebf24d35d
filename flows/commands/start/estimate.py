"""The command `clipes estimate`: forecast the time, memory and storage of a run."""

from typing import Annotated

import typer

from clipes.flows.commands.options import Config, Set, StoreOrConfigs
from clipes.flows.terminal.consoles import out


def estimate(
    config: Config,
    overrides: Set = None,
    store: StoreOrConfigs = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Number of photos to measure. A GPU needs some hundred to reach its full speed.")
    ] = 24,
    photos: Annotated[
        int | None, typer.Option(min=1, help="Number of photos of the run; default: the photos of the data set.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="Number of GPUs of the run; default: the GPUs of this machine.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Number of processor cores of the run; default: those of this machine.")
    ] = None,
) -> None:
    """Measure a sample of a data set, and forecast the time, memory and storage of the run."""
    from clipes.tasks.inputs.configs import read_config, resolve_config

    stated = read_config(config, overrides or (), {} if store is None else {"store": store})
    from clipes.tasks.commands.estimate.sample import without_placeholders

    loaded = resolve_config(without_placeholders(stated))
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.runs.inputs.checks import check_request, check_store
    from clipes.tasks.stages.registry import run_names

    check_runner(loaded)
    check_request(loaded, run_names()[-1])
    check_store(loaded, writes=True)
    from clipes.flows.estimation import Request, make_estimate
    from clipes.flows.terminal.estimate_table import print_estimate

    print_estimate(out, make_estimate(loaded, Request(sample, photos, gpus, cores)))
