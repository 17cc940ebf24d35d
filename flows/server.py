"""The Prefect server that a run is recorded in: python -m flows.server keeps one, to look at its pages."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from clipes_core.errors import ConfigError, StageError
from flows.shared_server import LOG, SharedServer, restarted, shared_server

START_SECONDS = 180  # on a busy machine it takes a minute
POLL_SECONDS = 0.2
DRAIN_SECONDS = 10.0
RESTARTS = 5  # of a server that dies again and again

logger = logging.getLogger("tasks.server")  # the command shows what the tasks log


@dataclass(frozen=True)
class Server:
    """The server of a block.

    Attributes:
        url: of its API.
        shared: its process, None for one that PREFECT_API_URL names.
    """

    url: str
    shared: SharedServer | None = None

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Wait until it answers; a shared one that dies while the block goes on is started again.

        Raises:
            ConfigError: the named server does not answer.
            StageError: the shared server did not start, or the server was lost in the block.
        """
        self._wait()
        try:
            with self._kept():
                yield
        except httpx.TransportError as exc:
            raise StageError(f"the Prefect server at {self.url} was lost ({exc}): see that it runs") from exc

    def _wait(self) -> None:
        if self.shared is None:
            if not _answers():
                raise ConfigError(
                    f"PREFECT_API_URL: {self.url} does not answer: start the server, or unset the variable"
                )
            return
        end = time.monotonic() + START_SECONDS
        while not _answers():
            if not self.shared.alive or time.monotonic() > end:
                raise StageError(f"the Prefect server did not start: see {_folder() / LOG}")
            time.sleep(POLL_SECONDS)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        if self.shared is None:
            yield
            return
        stop = threading.Event()
        thread = threading.Thread(target=_keep, args=(self.shared, stop), daemon=True, name="keep-server")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _keep(server: SharedServer, stop: threading.Event) -> None:
    for _ in range(RESTARTS):
        while server.alive:
            if stop.wait(POLL_SECONDS):
                return
        server = restarted(_folder(), server)
        logger.warning("the Prefect server died, see %s: another one is started in its place", _folder() / LOG)
    logger.warning("the Prefect server has died %d times: it is left alone", RESTARTS)


@contextmanager
def prefect_server() -> Iterator[Server]:
    """The server that PREFECT_API_URL names, else one that all runs on this machine share; see `Server.ready`.

    It starts while the block goes on, and lives at least as long. Processes that the block starts find it, too.
    """
    named = PREFECT_API_URL.value()
    if named:
        yield Server(named)
        return
    with shared_server(_folder()) as shared, _set_for_all(shared.url):
        try:
            yield Server(shared.url, shared)
        finally:
            _send_the_rest()


def _folder() -> Path:
    return PREFECT_HOME.value() / "clipes-server"


@contextmanager
def _set_for_all(url: str) -> Iterator[None]:
    os.environ["PREFECT_API_URL"] = url
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        del os.environ["PREFECT_API_URL"]


def _answers() -> bool:
    with get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def _send_the_rest() -> None:
    """Logs and events still on their way would wait for a server that is gone, a minute at exit."""
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)


def main() -> None:
    """Keep the server and its pages until Ctrl-C."""
    with suppress(KeyboardInterrupt), prefect_server() as server, server.ready():
        print(f"Prefect's pages: {server.url.removesuffix('/api')} (Ctrl-C ends this)", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
