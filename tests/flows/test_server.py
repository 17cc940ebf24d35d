"""The shared Prefect server, tested with real servers."""

import json
import os
import signal
import socket
import subprocess
import sys
from uuid import uuid4

import httpx
import psutil
import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_HOME, temporary_settings
from support.browser import open_browser
from support.commands import end_at_ctrl_c, without_announcements
from support.process_watch import all_end_within, processes_of_home
from support.web_server import flaky_files, serve

from clipes.flows.server import _Keeper, provide_server
from clipes.flows.server_process import SharedServer, _find_live, join_shared_server, restart
from clipes.tasks.machine.prefect_server.faults import find_fault
from clipes.tasks.ui.report_link import link_report
from clipes.tasks.ui.report_route import ROUTE
from clipes_core.errors import ConfigError, StageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Set a new PREFECT_HOME, unset PREFECT_API_URL, and check at the end that no server still runs."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings({PREFECT_HOME: tmp_path, PREFECT_API_URL: None}):
        yield tmp_path
    assert all_end_within(10, processes_of_home(tmp_path)), "a server still runs"


def kill_server(home):
    os.kill(json.loads((home / "clipes-server" / "server.json").read_text())["pid"], signal.SIGKILL)


def test_no_run_starts_if_the_named_server_does_not_answer(home):
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        provide_server() as server,
        pytest.raises(ConfigError, match=r"^PREFECT_API_URL: http://127\.0\.0\.1:9/api does not answer"),
    ):
        server.record(lambda _: pytest.fail("must not begin"))


def test_a_run_whose_server_died_resumes_with_a_new_server(home):
    calls = []

    def run(resumes):
        assert find_fault(server.url) is None
        calls.append(resumes)
        if not resumes:
            kill_server(home)
            raise StageError("no server")
        return "done"

    with provide_server() as server:
        assert server.record(run) == "done"
    assert calls == [False, True]


def test_a_server_listens_only_when_its_api_answers(home):
    with provide_server() as server:
        assert not server.shared.listens
        assert server.record(lambda _: server.shared.listens)
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None  # so that no run waits for the thread of heartbeats
    assert all_end_within(10, processes_of_home(home))
    assert not server.shared.listens


class DyingServer:
    """A server process that closed its connections but looks alive in the next `seen` checks."""

    url = "http://127.0.0.1:9/api"

    def __init__(self, seen):
        self.seen = seen

    @property
    def alive(self):
        self.seen -= 1
        return self.seen >= 0


def test_a_dying_server_counts_as_lost_before_its_process_ends(home):
    assert _Keeper(DyingServer(seen=3)).lost_server(restarts=0)


def test_a_run_that_fails_for_another_reason_is_not_repeated(home, monkeypatch):
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be used for a server on this host
    calls = []

    def run(resumes):
        calls.append(resumes)
        raise StageError("too many photos")

    with provide_server() as server, pytest.raises(StageError, match=r"^too many photos$"):
        server.record(run)
    assert calls == [False]


def test_a_socks_proxy_is_reported_before_a_server_starts(home, monkeypatch):
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"^all_proxy: Prefect cannot use a SOCKS proxy"), provide_server():
        pytest.fail("must not begin")
    assert not (home / "clipes-server").exists()


def test_an_interrupted_run_is_not_repeated_if_its_server_died(home):
    calls = []

    def run(resumes):
        calls.append(resumes)
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            kill_server(home)
            raise StageError("no server") from None

    with provide_server() as server, pytest.raises(KeyboardInterrupt):
        server.record(run)
    assert calls == [False]


def test_all_users_share_one_server_until_the_last_one_leaves(home):
    program = "import sys; from pathlib import Path; from clipes.flows.server_process import join_shared_server"
    program += "\nwith join_shared_server(Path(sys.argv[1])) as server: print(server.pid, flush=True); input()"
    command = [sys.executable, "-c", program, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        pid = int(other.stdout.readline())
        with join_shared_server(home) as server:
            assert server.pid == pid
            other.kill()
            other.wait()
            assert server.alive
        with join_shared_server(home) as next_server:
            assert next_server.alive


def test_a_server_that_cannot_start_is_started_once_and_explained(home):
    (home / "prefect.db").write_text("This is not a database.")
    expected = r"^the Prefect server did not start: .*file is not a database \(see .*server\.log\)$"
    with provide_server() as server, pytest.raises(StageError, match=expected):
        server.record(lambda _: pytest.fail("must not begin"))
    assert (home / "clipes-server" / "server.log").read_text().count("clipes starts a Prefect server") == 1


def test_a_taken_port_is_reported(home):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        dead = SharedServer(home, port, pid=0, pid_started=0.0)
        server = restart(dead)
        assert all_end_within(60, [psutil.Process(server.pid)])
    assert server.last_words.startswith(f"Port {port} is already in use. Please specify a different port")


def test_the_ui_command_keeps_the_server_until_ctrl_c(home):
    command = [sys.executable, "-m", "clipes", "ui"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=end_at_ctrl_c
    ) as process:
        line = process.stdout.readline()
        assert line.startswith("Prefect UI: http://127.0.0.1:")
        assert find_fault(f"{line.split()[2]}/api") is None
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert without_announcements(process.stderr.read()) == ""
    assert process.returncode == 0


def test_the_ui_command_reports_a_damaged_profile(home):
    (home / "profiles.toml").write_text("[[[")
    done = subprocess.run(
        [sys.executable, "-m", "clipes", "ui"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    (message,) = without_announcements(done.stderr).splitlines()
    assert message.startswith("clipes: Prefect cannot use its settings (TOMLDecodeError")


@pytest.mark.parametrize("record", ["{", "[]", '{"port": 1}', '{"port": "x", "pid": -1, "pid_started": null}', "\0"])
def test_a_damaged_record_of_the_server_is_ignored(tmp_path, record):
    (tmp_path / "server.json").write_text(record)
    assert _find_live(tmp_path) is None


@pytest.mark.slow
def test_a_server_that_requires_a_password_is_not_used_without_it(home, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "user:secret")
    with (
        provide_server() as server,
        pytest.raises(ConfigError, match=r"refuses access \(401 Unauthorized\): set PREFECT_API"),
    ):
        server.record(lambda _: pytest.fail("must not begin"))


LOADING_PAGE = """<p></p><script>clipesPhotos = (text) => { document.querySelector("p").textContent = text }</script>
<script src="report/photos-0001.js"></script>"""
FOREIGN_PAGE = """<!DOCTYPE html><body><script>
const read = async (url) => (await fetch(url)).status;
const load = (src) => new Promise((done) => {
  window.clipesPhotos = done;
  document.body.append(Object.assign(document.createElement("script"), { src, onerror: () => done("no script") }));
});
const frame = (src) => document.body.append(Object.assign(document.createElement("iframe"), { src }));
</script>"""


@flow(name="reported")
def reported(report: str) -> str | None:
    """Return where the server shows a report."""
    return link_report(report)


def test_the_shared_server_shows_the_reports_of_its_flow_runs(home, tmp_path):
    folder = tmp_path / "store" / "runs" / "demo"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"name": "demo"}')
    (folder / "report.html").write_text("<h1>demo</h1>")
    with provide_server() as server:
        shown = server.record(lambda _: reported(str(folder / "report.html")))
        assert server.record(lambda _: reported("s3://bucket/runs/demo/report.html")) is None
        assert server.record(lambda _: reported(str(tmp_path / "gone" / "report.html"))) is None
        root = server.url.removesuffix("/api")
        answer = httpx.get(f"{root}{shown}", follow_redirects=True)
        assert (answer.status_code, answer.text) == (200, "<h1>demo</h1>")
        assert answer.headers["content-type"].startswith("text/html")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox allow-scripts ")  # without the origin of Prefect's pages
        assert "connect-src" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert httpx.get(str(answer.url.join("run.json"))).status_code == 404
        assert httpx.get(f"{root}{ROUTE}/{uuid4()}/report.html").status_code == 404
        assert httpx.get(f"{root}{shown}", headers={"host": "example.com"}).status_code == 403
        assert find_fault(server.url) is None


@pytest.mark.slow
def test_only_the_page_of_a_report_reads_it_and_its_scripts(home, tmp_path):
    folder = tmp_path / "store" / "runs" / "demo"
    (folder / "report").mkdir(parents=True)
    (folder / "run.json").write_text('{"name": "demo"}')
    (folder / "report.html").write_text(LOADING_PAGE)
    (folder / "report" / "photos-0001.js").write_text("clipesPhotos('photos')")
    foreign = flaky_files({"/": FOREIGN_PAGE.encode()}, every=0)
    with provide_server() as server, serve(foreign) as foreign_root, open_browser() as browser:
        path = server.record(lambda _: reported(str(folder / "report.html")))
        shown = f"{server.url.removesuffix('/api')}{path}"
        page = browser.new_page()
        page.goto(shown)
        page.get_by_text("photos").wait_for()
        script = page.evaluate("document.querySelector('script[src]').src")
        assert script.startswith(shown.removesuffix("report.html"))
        guessed = shown.replace("report.html", "report/photos-0001.js")
        page.goto(foreign_root)
        assert page.evaluate("read", shown) == 403
        assert page.evaluate("load", guessed) == "no script"
        assert page.evaluate("load", script.replace("/report/", "x/report/")) == "no script"
        assert page.evaluate("load", script) == "photos"  # the secret is what keeps the photos
        with page.expect_response(shown) as framed:
            page.evaluate("frame", shown)
        assert framed.value.status == 403


def test_a_server_that_clipes_has_not_started_has_no_link_to_reports(server, tmp_path):
    folder = tmp_path / "runs" / "demo"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"name": "demo"}')
    (folder / "report.html").write_text("<h1>demo</h1>")
    assert reported(str(folder / "report.html")) is None
