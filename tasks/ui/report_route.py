"""Let the Prefect server that clipes starts send reports, because browsers block links from its pages to local files.

A flow run states the path of its report in a label. The server sends only the report of the flow run in the URL and the
scripts with its further photos, only if they lie in the folder of a run, and only to browsers on this machine. The
headers of the answer forbid the scripts of a report to use Prefect's API.
"""

import json
import re
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from clipes.tasks.machine.prefect_server import LOOPBACK

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ROUTE = "/clipes/reports"
REPORT_LABEL = "clipes.report"  # label of a flow run: path of its report
MARK = "x-clipes-report"  # header of an answer; other servers answer any path with Prefect's own page
REPORT, RUN = "report.html", "run.json"
SCRIPT = re.compile(r"[\w-]+/photos-\d+\.js")  # photos beyond those in the report, which loads them on request


def add_report_route() -> None:
    """Add the route to the Prefect server that this process is about to start."""
    from prefect.server.api import server
    from starlette.routing import Route

    create_app = server.create_app

    @wraps(create_app)
    def create_app_with_reports(*args: Any, **settings: Any) -> Any:
        app = create_app(*args, **settings)
        app.router.routes.insert(0, Route(f"{ROUTE}/{{flow_run_id:uuid}}/{{file:path}}", _send))  # before the UI's
        return app

    server.create_app = create_app_with_reports


async def _send(request: "Request") -> "Response":
    from starlette.responses import FileResponse, PlainTextResponse

    if not (request.client and request.client.host in LOOPBACK and request.url.hostname in LOOPBACK):
        return PlainTextResponse("clipes shows reports only to browsers on the machine of the server", 403)
    path = find_file(await _report_of(request.path_params["flow_run_id"]), request.path_params["file"])
    if path is None:
        return PlainTextResponse("the flow run has no report on this machine, or the report was moved", 404)
    own = f"{request.url.scheme}://{request.url.netloc}{ROUTE}/"
    policy = (
        "sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; img-src data: blob:; font-src data:; "
        f"style-src 'unsafe-inline'; script-src 'unsafe-inline' {own}; base-uri 'none'; form-action 'none'"
    )
    headers = {MARK: "1", "content-security-policy": policy, "x-content-type-options": "nosniff"}
    return FileResponse(path, headers={**headers, "cache-control": "no-cache"})


async def _report_of(flow_run_id: UUID) -> str | None:
    """Return the path of the report that a flow run states; None if there is no such flow run, or it states none."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models import flow_runs

    async with provide_database_interface().session_context() as session:
        flow_run: Any = await flow_runs.read_flow_run(session, flow_run_id)  # type: ignore[attr-defined]
    path = (flow_run.labels or {}).get(REPORT_LABEL) if flow_run else None
    return path if isinstance(path, str) else None


def find_file(report: str | None, file: str) -> Path | None:
    """Return the path of a file of a report; None if the server must not send it, or if it does not exist.

    Args:
        report: path of the report, as a flow run states it.
        file: path of the file, relative to the folder of the report.
    """
    if report is None or not (file == REPORT or SCRIPT.fullmatch(file)):
        return None
    folder = Path(report).parent
    path = folder / file
    if Path(report).name != REPORT or not _is_run(folder) or not path.is_file():
        return None
    return path if path.resolve().is_relative_to(folder.resolve()) else None


def _is_run(folder: Path) -> bool:
    """Return whether the folder is that of a run: its run.json states the same name."""
    try:
        return bool(json.loads((folder / RUN).read_bytes())["name"] == folder.name)
    except (OSError, ValueError, TypeError, KeyError):
        return False
