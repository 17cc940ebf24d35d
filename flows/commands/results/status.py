"""The command `clipes status`: the progress of a run, or how it ended."""

from clipes.flows.commands.options import DEFAULT_STORE, Name, Store
from clipes.flows.terminal.consoles import out


def status(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Show the progress of a run, or how it ended."""
    from clipes.flows.terminal.result_tables import print_status
    from clipes.tasks.storage.run_status import read_run

    print_status(out, read_run(store, name))
