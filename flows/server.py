"""The Prefect server that a run is recorded in."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipes_core.errors import ConfigError, StageError

START_SECONDS = 180  # on a busy machine it takes a minute
STOP_SECONDS = 5
DRAIN_SECONDS = 10.0


@contextmanager
def prefect_server() -> Iterator[str]:
    """The API URL of a server: the one that PREFECT_API_URL names, else one that lives as long as the block.

    Raises:
        ConfigError: the named server does not answer.
        StageError: the server did not start.
    """
    named = PREFECT_API_URL.value()
    if named:
        if not _answers():
            raise ConfigError(f"PREFECT_API_URL: {named} does not answer: start the server, or unset the variable")
        yield named
        return
    with _own_server() as url:
        try:
            yield url
        finally:
            _send_the_rest()


@contextmanager
def _own_server() -> Iterator[str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    # A session of its own: Ctrl-C in the terminal is meant for the run, which still has to tell the server of it.
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=_without_url()
    )
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            _wait_for(server)
            yield url
    finally:
        _stop(server)


def _wait_for(server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while not _answers():
        if server.poll() is not None or time.monotonic() > end:
            raise StageError("the Prefect server did not start: try `prefect server start` to see why")
        time.sleep(0.2)


def _answers() -> bool:
    with get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _without_url() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}


def _send_the_rest() -> None:
    """Logs and events still on their way would wait for a server that is gone, a minute at exit."""
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
