"""The command `clipes report`: rewrite a run's report."""

from clipes.flows.commands.options import DEFAULT_STORE, Name, Store
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server import load_prefect


def report(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Rewrite a run's report.html and print its path."""
    load_prefect()
    from clipes.tasks.report.report_file import write_report

    out.print(f"report: {write_report(store, name)}")
