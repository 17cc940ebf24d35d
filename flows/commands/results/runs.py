"""The command `clipes runs`: list the runs in a store."""

from clipes.flows.commands.options import DEFAULT_STORE, Json, Store
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import UsageError


def runs(store: Store = DEFAULT_STORE, as_json: Json = False) -> None:
    """List the runs in a store, the most recently started first."""
    from clipes.tasks.storage.run_status import read_runs

    with announce("reading the runs"):
        found = read_runs(store)
    if as_json:
        from clipes.tasks.commands.status_json import runs_json

        out.print(runs_json(store, found))
        return
    if not found:
        raise UsageError(f"no runs in {store}: name another store with --store")
    from clipes.flows.terminal.runs_table import print_runs

    print_runs(out, found)
