"""The Prefect server that records runs. `python -m clipes.flows.server` keeps the server and its UI available."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from clipes.flows.server_process import SharedServer, join_shared_server, restart
from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.interruption import interruption_first
from clipes.tasks.machine.log import show_log
from clipes_core.errors import ClipesError, ConfigError, StageError, UsageError

START_SECONDS = 180  # on a busy machine, a server takes a minute to start
POLL_SECONDS = 0.2
DRAIN_SECONDS = 10.0
LOSS_SECONDS = 10.0
MAX_RESTARTS = 3  # limit for a server that dies again and again

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """A Prefect server.

    Attributes:
        url: URL of the server's API.
        shared: process of the shared server; None if `url` comes from PREFECT_API_URL.
    """

    url: str
    shared: SharedServer | None = None

    def record(self, run: Callable[[bool], Result]) -> Result:
        """Call `run` as soon as the server answers, and call it again if the shared server dies during the call.

        Args:
            run: function that starts flow runs, which the server records. The argument of `run` is true if the
                server died during an earlier call.

        Raises:
            ConfigError: the server at PREFECT_API_URL does not answer.
            StageError: the shared server did not start, or the server at PREFECT_API_URL stopped answering.
            Exception: an error of `run` that was not caused by the loss of the server.
        """
        resumes = False
        keeper = _Keeper(self.shared)
        with in_background(keeper.keep, "keep-server"):
            while True:
                self._wait(keeper)
                restarts = keeper.restarts
                try:
                    with interruption_first():
                        return run(resumes)
                except UsageError:
                    raise
                except Exception as exc:
                    if not keeper.lost_server(restarts):
                        if isinstance(exc, ClipesError) or _answers():
                            raise
                        message = f"the Prefect server at {self.url} stopped answering: start it, then resume the run"
                        raise StageError(message) from exc
                logger.warning("the Prefect server died during the run; clipes resumes the run with the new server")
                resumes = True

    def _wait(self, keeper: "_Keeper") -> None:
        if self.shared is None:
            if not _answers():
                raise ConfigError(
                    f"PREFECT_API_URL: {self.url} does not answer: start the server, or unset the variable"
                )
            return
        end = time.monotonic() + START_SECONDS
        while not _answers():
            if keeper.has_given_up or time.monotonic() > end:
                raise StageError(f"the Prefect server did not start: see {self.shared.log}, then resume the run")
            time.sleep(POLL_SECONDS)


class _Keeper:
    """Restarts a shared server when it dies.

    A run may take weeks. Its workers do not need the server, so they continue while the server restarts. The new server
    has the same URL.

    Attributes:
        restarts: number of restarts so far.
    """

    def __init__(self, server: SharedServer | None) -> None:
        self._server = server
        self.restarts = 0

    def keep(self, stop: threading.Event) -> None:
        """Restart the server whenever it dies, at most `MAX_RESTARTS` times, until `stop` is set."""
        while self._server is not None and self.restarts < MAX_RESTARTS:
            while self._server.alive:
                if stop.wait(POLL_SECONDS):
                    return
            self._server = restart(self._server)
            self.restarts += 1
            logger.warning("the Prefect server died (see %s); clipes restarted it", self._server.log)

    def lost_server(self, restarts: int) -> bool:
        """Return whether the server has died since `self.restarts` had the value `restarts`.

        The result is true as soon as the old server is dead, even if the new server has not started yet.

        For a moment after the server is killed, it may still answer, or its process may look alive although the server
        no longer answers. The method therefore waits, at most `LOSS_SECONDS`, until the state is clear.
        """
        end = time.monotonic() + LOSS_SECONDS
        while self.restarts == restarts and not self._is_dead:
            if self._server is None or time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
            if self.restarts == restarts and not self._is_dead and _answers():
                return False
        return True

    @property
    def has_given_up(self) -> bool:
        """Return whether the server is dead and will not be restarted again."""
        return self.restarts == MAX_RESTARTS and self._is_dead

    @property
    def _is_dead(self) -> bool:
        return self._server is not None and not self._server.alive


@contextmanager
def provide_server() -> Iterator[Server]:
    """Yield the server at PREFECT_API_URL. If this variable is unset, yield the user's shared server on this machine.

    A shared server may still be starting when the block begins, and it lives at least as long as the block. Processes
    that the block starts use the same server.
    """
    named = PREFECT_API_URL.value()
    if named:
        yield Server(named)
        return
    with join_shared_server(PREFECT_HOME.value() / "clipes-server") as shared, _set_api_url(shared.url):
        try:
            yield Server(shared.url, shared)
        finally:
            _drain()


@contextmanager
def _set_api_url(url: str) -> Iterator[None]:
    """Set PREFECT_API_URL for this process and its children while the block runs."""
    os.environ["PREFECT_API_URL"] = url
    try:
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        del os.environ["PREFECT_API_URL"]


def _answers() -> bool:
    with get_client(sync_client=True) as client:
        return client.api_healthcheck() is None


def _drain() -> None:
    """Send Prefect's logs and events while the server lives. At exit, Prefect waits a minute for a dead server."""
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)


def main() -> None:
    """Keep the server and its UI available until Ctrl-C."""
    show_log()
    try:
        with suppress(KeyboardInterrupt), provide_server() as server:
            server.record(lambda _: _show(server.url))
    except ClipesError as exc:
        sys.exit(f"clipes: {exc}")


def _show(url: str) -> None:
    print(f"Prefect UI: {url.removesuffix('/api')} (Ctrl-C ends this command)", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
