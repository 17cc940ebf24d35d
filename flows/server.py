"""The Prefect server that a run is recorded in: python -m clipes.flows.server keeps one, to look at its pages."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self, TypeVar

from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from clipes.flows.shared_server import SharedServer, restarted, shared_server
from clipes.tasks.machine.log import show_log
from clipes_core.errors import ClipesError, ConfigError, StageError, UsageError

START_SECONDS = 180  # on a busy machine it takes a minute
POLL_SECONDS = 0.2
DRAIN_SECONDS = 10.0
LOSS_SECONDS = 10.0
RESTARTS = 3  # of a server that dies again and again

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """The server of a block.

    Attributes:
        url: of its API.
        shared: its process, None for one that PREFECT_API_URL names.
    """

    url: str
    shared: SharedServer | None = None

    def recorded(self, run: Callable[[bool], Result]) -> Result:
        """Call `run` when the server answers. A shared one that dies meanwhile is started again.

        Args:
            run: is called again where it failed because of that. It is told whether it goes on with what it has done.

        Raises:
            ConfigError: the named server does not answer.
            StageError: the shared server did not start, or the server was lost.
            Exception: what `run` raises for another cause.
        """
        goes_on = False
        with _Keeper(self.shared) as keeper:
            while True:
                self._wait(keeper)
                replaced = keeper.replaced
                try:
                    return run(goes_on)
                except UsageError:
                    raise
                except Exception as exc:
                    if not keeper.lost_one(since=replaced):
                        if isinstance(exc, ClipesError) or _answers():
                            raise
                        raise StageError(f"the Prefect server at {self.url} was lost: see that it runs") from exc
                logger.warning("the run failed without a server: it goes on with the new one")
                goes_on = True

    def _wait(self, keeper: "_Keeper") -> None:
        if self.shared is None:
            if not _answers():
                raise ConfigError(
                    f"PREFECT_API_URL: {self.url} does not answer: start the server, or unset the variable"
                )
            return
        end = time.monotonic() + START_SECONDS
        while not _answers():
            if keeper.given_up or time.monotonic() > end:
                raise StageError(f"the Prefect server did not start: see {self.shared.log}")
            time.sleep(POLL_SECONDS)


class _Keeper:
    """Starts a shared server again when it dies within the block.

    Attributes:
        replaced: how often it had to.
    """

    def __init__(self, server: SharedServer | None) -> None:
        self._server, self._stop = server, threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="keep-server")
        self.replaced = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def lost_one(self, since: int) -> bool:
        """Whether a server has died since that many were replaced; it may not be replaced yet.

        A process that was killed answers a moment longer, and is seen dead a moment after it has stopped to.
        """
        end = time.monotonic() + LOSS_SECONDS
        while self.replaced == since and not self._is_dead:
            if self._server is None or time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
            if self.replaced == since and not self._is_dead and _answers():
                return False
        return True

    @property
    def given_up(self) -> bool:
        """Whether it died once too often."""
        return self.replaced == RESTARTS and self._is_dead

    @property
    def _is_dead(self) -> bool:
        return self._server is not None and not self._server.alive

    def _keep(self) -> None:
        while self._server is not None and self.replaced < RESTARTS:
            while self._server.alive:
                if self._stop.wait(POLL_SECONDS):
                    return
            self._server = restarted(self._server)
            self.replaced += 1
            logger.warning("the Prefect server died, see %s: another one is started in its place", self._server.log)


@contextmanager
def prefect_server() -> Iterator[Server]:
    """The server that PREFECT_API_URL names, else one that all runs on this machine share.

    It starts while the block goes on, and lives at least as long. Processes that the block starts find it, too.
    """
    named = PREFECT_API_URL.value()
    if named:
        yield Server(named)
        return
    with shared_server(PREFECT_HOME.value() / "clipes-server") as shared, _set_for_all(shared.url):
        try:
            yield Server(shared.url, shared)
        finally:
            _send_the_rest()


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
    show_log()
    try:
        with suppress(KeyboardInterrupt), prefect_server() as server:
            server.recorded(lambda _: _show(server.url))
    except ClipesError as exc:
        sys.exit(f"clipes: {exc}")


def _show(url: str) -> None:
    print(f"Prefect's pages: {url.removesuffix('/api')} (Ctrl-C ends this)", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
