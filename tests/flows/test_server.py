"""The shared Prefect server, tested with real servers."""

import json
import os
import signal
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from support.process_watch import all_end_within, processes_of_home

from clipes.flows.server import _answers, _Keeper, provide_server
from clipes.flows.server_process import join_shared_server
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
        assert _answers()
        calls.append(resumes)
        if not resumes:
            kill_server(home)
            raise StageError("no server")
        return "done"

    with provide_server() as server:
        assert server.record(run) == "done"
    assert calls == [False, True]


class DyingServer:
    """A server process that closed its connections but looks alive in the next `seen` checks."""

    def __init__(self, seen):
        self.seen = seen

    @property
    def alive(self):
        self.seen -= 1
        return self.seen >= 0


def test_a_dying_server_counts_as_lost_before_its_process_ends(home):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert _Keeper(DyingServer(seen=3)).lost_server(restarts=0)


def test_a_run_that_fails_for_another_reason_is_not_repeated(home):
    calls = []

    def run(resumes):
        calls.append(resumes)
        raise StageError("too many photos")

    with provide_server() as server, pytest.raises(StageError, match=r"^too many photos$"):
        server.record(run)
    assert calls == [False]


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
