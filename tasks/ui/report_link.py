"""Find out at which address the Prefect server shows the report of the current flow run."""

from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from clipes.tasks.ui.report_route import MARK, REPORT, REPORT_LABEL, ROUTE

TIMEOUT_S = 5.0


def link_report(report_uri: str) -> str | None:
    """Tell the Prefect server where the report of the current flow run is, and return where the server shows it.

    Args:
        report_uri: URI of report.html.

    Returns:
        The path of the report on the server, which stays valid if another server with the same database has another
        port. None outside of a flow run, if the report is not on a disk of the server's machine, if clipes has not
        started the server, or if the server has a password.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or urlsplit(report_uri).scheme:
        return None
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(context.flow_run.id, {REPORT_LABEL: report_uri})
    path = f"{ROUTE}/{context.flow_run.id}/{REPORT}"
    server = str(PREFECT_API_URL.value()).removesuffix("/").removesuffix("/api")
    try:
        answer = httpx.head(f"{server}{path}", timeout=TIMEOUT_S, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return path if answer.status_code == httpx.codes.OK and MARK in answer.headers else None
