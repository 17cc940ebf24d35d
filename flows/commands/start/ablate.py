"""The command `clipes ablate`: run the variants of a config, and compare them in a table."""

from typing import Annotated

import typer

from clipes.flows.commands.options import Config, Fresh, Set, StoreOrConfigs
from clipes.flows.exit_codes import explain_resume
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce


def ablate(
    config: Config,
    grid: Annotated[
        str, typer.Option(metavar="GRID", help="Grid of the variants: the name of a shipped grid, or a YAML file.")
    ],
    overrides: Set = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Run only the variants with this label; may be given several times."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the ablation; default: the name in CONFIG with that of the grid appended."),
    ] = None,
    store: StoreOrConfigs = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what the runs would reuse, share and compute, and exit.")
    ] = False,
    fresh: Fresh = False,
) -> None:
    """Run the variants of a grid, and compare them in a table. To resume an ablation, repeat the command."""
    from clipes.tasks.ablation.grid_file import load_grid
    from clipes.tasks.ablation.shown_figures import left_out_line, with_known_figures
    from clipes.tasks.ablation.variant_runs import ablation_config, check_needs, variant_runs

    loaded = load_grid(grid)
    given = {key: value for key, value in {"name": name, "store": store}.items() if value is not None}
    common, labels = ablation_config(config, overrides or (), loaded, given), tuple(only or ())
    runs = variant_runs(common, loaded, labels)
    configs = [run.config for run in runs]
    shown = with_known_figures(loaded, *configs)
    if not plan:
        check_needs(common, loaded)
    # These imports are late, so that clipes reports mistakes in the config before it loads pyarrow, and mistakes in the
    # arguments before it loads torch.
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.runs.inputs.checks import check_store

    for each in configs:
        check_runner(each)
    check_store(configs[0], writes=not plan)
    if plan:
        from clipes.flows.ablation.plan import plan_ablation
        from clipes.flows.terminal.ablation_plan import print_ablation_plan

        print_ablation_plan(out, plan_ablation(runs, shown.last_stage))
        if line := left_out_line(loaded, *configs):
            out.print(line)
        return
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while the pipeline is imported.
        with announce("loading the pipeline"):
            from clipes.flows.ablation.flow import run_ablation
            from clipes.flows.terminal.ablation_table import print_ablation

        with explain_resume():
            result = server.record(lambda resumes: run_ablation(common, loaded, labels, fresh and not resumes))
    print_ablation(out, result)
    out.print(f"files: {result.uri}")
    with explain_resume():
        result.check()
