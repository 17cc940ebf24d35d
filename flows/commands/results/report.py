"""The command `clipes report`: rewrite a run's report."""

from clipes.flows.commands.options import DEFAULT_STORE, Name, Store
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce


def report(name: Name, store: Store = DEFAULT_STORE) -> None:
    """Rewrite a run's report.html and print its path."""
    from clipes.tasks.storage.run_status import find_run

    run = find_run(store, name)  # so that an unknown run is reported before Prefect is imported
    if "ablation" in run:
        from clipes.tasks.ablation.record import write_tables

        out.print(f"report: {write_tables(store, name)}")
        return
    load_prefect()
    with announce("writing the report"):
        from clipes.tasks.report.report_file import write_report

        uri = write_report(store, name)
    out.print(f"report: {uri}")
