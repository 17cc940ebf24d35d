"""The command `clipes ui`: keep the Prefect server and its UI available."""

from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server.settings import load_prefect


def ui() -> None:
    """Keep the Prefect server and its UI, which shows all runs, available until Ctrl-C."""
    load_prefect()
    from clipes.flows.server import keep_server

    keep_server(lambda url: out.print(f"Prefect UI: {url.removesuffix('/api')} (Ctrl-C ends this command)"))
