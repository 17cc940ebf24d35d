"""Let the Prefect server that clipes starts send reports, because browsers block links from its pages to local files.

A flow run states the path of its report in a label. The server sends only the report of the flow run in the URL and the
scripts with its further photos, only if they lie in the folder of a run, and only to programs on this machine. The
headers of the answer forbid the scripts of a report to use Prefect's API.

Prefect lets the pages of every web site read its answers (CORS), and the ids of flow runs are among them. Therefore:

- The server sends a report only if a browser opens it as a page: not to a script of another page, nor into a frame.
- Every web page may run a script of this server, and thereby read the photos in it. The URL of a script therefore
  contains a secret, which the server puts into the URL of the report when it opens.
- Prefect's password does not protect this route, so the server sends no reports if it has a password.
"""

import hmac
import json
import re
import secrets
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from clipes.tasks.machine.prefect_server.proxies import LOOPBACK

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

ROUTE = "/clipes/reports"
REPORT_LABEL = "clipes.report"  # label of a flow run: path of its report
MARK = "x-clipes-report"  # header of an answer; other servers answer any path with Prefect's own page
REPORT, RUN = "report.html", "run.json"
SCRIPT = re.compile(r"[\w-]+/photos-\d+\.js")  # photos beyond those in the report, which loads them on request
KEY = secrets.token_bytes(32)  # of this process, for the secrets in URLs


def add_report_route() -> None:
    """Add the route to the Prefect server that this process is about to start."""
    from prefect.server.api import server

    create_app = server.create_app

    @wraps(create_app)
    def create_app_with_reports(*args: Any, **settings: Any) -> Any:
        app = create_app(*args, **settings)
        app.router.routes[:0] = report_routes()  # before the UI's
        return app

    server.create_app = create_app_with_reports


def report_routes() -> "list[BaseRoute]":
    """Return the routes: one that leads to the URL with the secret, and one that sends the files."""
    from starlette.routing import Route

    folder = f"{ROUTE}/{{flow_run_id:uuid}}"
    return [Route(f"{folder}/{REPORT}", _open), Route(f"{folder}/{{secret}}/{{file:path}}", _send)]


async def _open(request: "Request") -> "Response":
    from starlette.responses import PlainTextResponse, RedirectResponse

    if refusal := _refusal(request, REPORT):
        return PlainTextResponse(refusal, 403)
    flow_run_id = request.path_params["flow_run_id"]
    if find_file(await _report_of(flow_run_id), REPORT) is None:
        return _not_found()
    return RedirectResponse(f"{_secret(flow_run_id)}/{REPORT}", headers={MARK: "1", "cache-control": "no-store"})


async def _send(request: "Request") -> "Response":
    from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse

    flow_run_id, file = request.path_params["flow_run_id"], request.path_params["file"]
    if refusal := _refusal(request, file):
        return PlainTextResponse(refusal, 403)
    if not hmac.compare_digest(request.path_params["secret"].encode(), _secret(flow_run_id).encode()):
        # An earlier server made the URL.
        return RedirectResponse(f"../{REPORT}") if file == REPORT else _not_found()
    path = find_file(await _report_of(flow_run_id), file)
    if path is None:
        return _not_found()
    own = f"{request.url.scheme}://{request.url.netloc}{ROUTE}/{flow_run_id}/{_secret(flow_run_id)}/"
    policy = (
        "sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; img-src data: blob:; font-src data:; "
        f"style-src 'unsafe-inline'; script-src 'unsafe-inline' {own}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    headers = {MARK: "1", "content-security-policy": policy, "x-content-type-options": "nosniff"}
    return FileResponse(path, headers={**headers, "cache-control": "no-cache", "referrer-policy": "no-referrer"})


def _refusal(request: "Request", file: str) -> str | None:
    """Return why the server does not answer the request; None if it does."""
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING

    if not (request.client and request.client.host in LOOPBACK and request.url.hostname in LOOPBACK):
        return "clipes shows reports only to browsers on the machine of the server"
    if PREFECT_SERVER_API_AUTH_STRING.value():
        return "a server with a password shows no reports: open the file report.html in the folder of the run"
    # Browsers state the origin of a page whose script wants to read the answer, and what a request is for.
    if "origin" in request.headers or (
        file == REPORT and request.headers.get("sec-fetch-dest") not in (None, "document")
    ):
        return "clipes shows reports only in a window of their own, and not to other pages"
    return None


def _secret(flow_run_id: UUID) -> str:
    """Return the part of the URLs of a report that only the pages of this server know."""
    return hmac.digest(KEY, flow_run_id.bytes, "sha256").hex()


def _not_found() -> "Response":
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("the flow run has no report on this machine, or the report was moved", 404)


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
