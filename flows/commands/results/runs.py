"""The command `clipes runs`: list the runs in a store."""

from clipes.flows.commands.options import DEFAULT_STORE, Store
from clipes.flows.terminal.consoles import out
from clipes_core.errors import UsageError


def runs(store: Store = DEFAULT_STORE) -> None:
    """List the runs in a store, the last started first."""
    from clipes.flows.terminal.runs_table import print_runs
    from clipes.tasks.storage.run_status import read_runs

    if not (found := read_runs(store)):
        raise UsageError(f"no runs in {store}: name another store with --store")
    print_runs(out, found)
