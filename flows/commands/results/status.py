"""The command `clipes status`: the progress of a run, or how it ended."""

import typer

from clipes.flows.commands.options import DEFAULT_STORE, Json, Name, Store
from clipes.flows.exit_codes import code_of_state
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce


def status(name: Name, store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """Show the progress of a run, or how it ended. Exit code: 0 completed, 3 running, 1 stopped in another way."""
    with announce("reading the run"):
        from clipes.tasks.storage.run_status import read_run

        found = read_run(store, name)
    if as_json:
        from clipes.tasks.commands.status_json import status_json

        out.print(status_json(store, found))
    else:
        from clipes.flows.terminal.result_tables import print_status

        print_status(out, found)
        if "ablation" in found.run:
            from clipes.flows.terminal.ablation_table import print_results

            print_results(out, store, name)
    raise typer.Exit(code_of_state(found.state))
