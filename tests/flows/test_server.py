"""The server that runs share, without a run: real servers, which take seconds to start."""

import json
import os
import signal
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from support.process_watch import gone_within, started_in

from clipes.flows.server import _answers, _Keeper, prefect_server
from clipes.flows.shared_server import shared_server
from clipes_core.errors import ConfigError, StageError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A PREFECT_HOME of its own; no server is named."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings({PREFECT_HOME: tmp_path, PREFECT_API_URL: None}):
        yield tmp_path
    assert gone_within(10, started_in(tmp_path)), "a server is left"


def kill_server(home):
    os.kill(json.loads((home / "clipes-server" / "server.json").read_text())["pid"], signal.SIGKILL)


def test_a_named_server_that_does_not_answer_is_told_and_nothing_runs(home):
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        prefect_server() as server,
        pytest.raises(ConfigError, match=r"^PREFECT_API_URL: http://127\.0\.0\.1:9/api does not answer"),
    ):
        server.recorded(lambda _: pytest.fail("must not begin"))


def test_what_failed_with_the_server_is_called_again_with_the_new_one(home):
    calls = []

    def run(goes_on):
        assert _answers()
        calls.append(goes_on)
        if not goes_on:
            kill_server(home)
            raise StageError("no server")
        return "done"

    with prefect_server() as server:
        assert server.recorded(run) == "done"
    assert calls == [False, True]


class DyingServer:
    """A process that is seen alive a few times after its connections are gone."""

    def __init__(self, seen):
        self.seen = seen

    @property
    def alive(self):
        self.seen -= 1
        return self.seen >= 0


def test_a_server_that_is_just_dying_counts_as_lost(home):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert _Keeper(DyingServer(seen=3)).lost_one(since=0)


def test_what_fails_for_another_cause_is_not_called_again(home):
    calls = []

    def run(goes_on):
        calls.append(goes_on)
        raise StageError("too many photos")

    with prefect_server() as server, pytest.raises(StageError, match=r"^too many photos$"):
        server.recorded(run)
    assert calls == [False]


def test_all_who_come_have_one_server_until_the_last_has_gone(home):
    holds = "import sys; from pathlib import Path; from clipes.flows.shared_server import shared_server"
    holds += "\nwith shared_server(Path(sys.argv[1])) as server: print(server.pid, flush=True); input()"
    command = [sys.executable, "-c", holds, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        pid = int(other.stdout.readline())
        with shared_server(home) as server:
            assert server.pid == pid
            other.kill()
            other.wait()
            assert server.alive
        with shared_server(home) as next_server:
            assert next_server.alive
