"""Which files the server sends, and to whom; tests/flows/test_server.py asks a real server for them."""

import asyncio
import json
from uuid import uuid4

import httpx
import pytest
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings
from starlette.applications import Starlette

from clipes.tasks.ui.report_route import ROUTE, find_file, report_routes


@pytest.fixture
def report(tmp_path):
    """Return the path of the report of the run `demo`, which has a file with further photos."""
    folder = tmp_path / "runs" / "demo"
    (folder / "photos").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"name": "demo"}))
    (folder / "report.html").write_text("<p>")
    (folder / "metrics.json").write_text("{}")
    (folder / "photos" / "photos-0001.js").write_text("clipesPhotos()")
    (tmp_path / "runs" / "report.html").write_text("of no run")
    return folder / "report.html"


@pytest.mark.parametrize("file", ["report.html", "photos/photos-0001.js"])
def test_a_report_and_its_further_photos_are_sent(report, file):
    assert find_file(str(report), file) == report.parent / file


@pytest.mark.parametrize(
    "file",
    ["run.json", "metrics.json", "../report.html", "photos/photos-0002.js", "../demo/report.html", "", "/etc/passwd"],
)
def test_other_files_are_not_sent(report, file):
    assert find_file(str(report), file) is None


def test_only_the_report_of_a_run_is_sent(report):
    assert find_file(None, "report.html") is None
    assert find_file(str(report.parent / "metrics.json"), "report.html") is None
    assert find_file(str(report.parents[1] / "report.html"), "report.html") is None
    (report.parent / "run.json").write_text('{"name": "other"}')
    assert find_file(str(report), "report.html") is None
    (report.parent / "run.json").write_text("[]")
    assert find_file(str(report), "report.html") is None


def test_a_link_out_of_the_folder_of_the_run_is_not_followed(report, tmp_path):
    (tmp_path / "secret.html").write_text("secret")
    report.unlink()
    report.symlink_to(tmp_path / "secret.html")
    assert find_file(str(report), "report.html") is None


def ask(file="report.html", client="127.0.0.1", host="127.0.0.1:4200", **headers):
    """Ask the routes for a file of a flow run, and return the answer."""

    async def answer():
        transport = httpx.ASGITransport(Starlette(routes=report_routes()), client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as asking:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await asking.get(f"{ROUTE}/{uuid4()}/{file}", headers=named)

    return asyncio.run(answer())


@pytest.mark.parametrize("file", ["report.html", "0123/report.html", "0123/report/photos-0001.js"])
@pytest.mark.parametrize(
    "request_of",
    [
        {"client": "192.0.2.1"},
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:4200"},  # no page of the server needs to read a report
    ],
)
def test_other_machines_and_other_pages_are_refused(file, request_of):
    answer = ask(file, **request_of)
    assert answer.status_code == 403
    assert "clipes shows reports only" in answer.text


@pytest.mark.parametrize("file", ["report.html", "0123/report.html"])
@pytest.mark.parametrize("use", ["iframe", "object", "empty", "script"])
def test_a_report_opens_only_as_a_page(file, use):
    assert ask(file, sec_fetch_dest=use).status_code == 403


def test_a_script_is_sent_only_to_a_page_that_knows_the_secret():
    assert ask("0123/report/photos-0001.js", sec_fetch_dest="script").status_code == 404
    assert ask("report/photos-0001.js", sec_fetch_dest="script").status_code == 404


def test_a_report_of_an_earlier_server_is_looked_up_again():
    answer = ask("0123/report.html", sec_fetch_dest="document")
    assert (answer.status_code, answer.headers["location"]) == (307, "../report.html")


@pytest.mark.parametrize("file", ["report.html", "0123/report/photos-0001.js"])
def test_a_server_with_a_password_shows_no_reports(file):
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "user:secret"}):
        answer = ask(file)
    assert answer.status_code == 403
    assert answer.text.startswith("a server with a password shows no reports: open the file report.html")
