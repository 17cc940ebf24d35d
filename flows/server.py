"""The Prefect server that records runs: the one at PREFECT_API_URL, or the user's shared server on this machine."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_HOME, temporary_settings

from clipes.flows.server_process import SharedServer, join_shared_server, restart
from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.interruption import interruption_first
from clipes.tasks.machine.prefect_server.errors import translate_prefect_errors, without_password
from clipes.tasks.machine.prefect_server.faults import ServerFault, find_fault
from clipes.tasks.machine.prefect_server.proxies import bypass_proxy_on_this_host, check_proxies
from clipes.tasks.machine.prefect_server.settings import check_home, translate_home_errors, url_setting
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import ConfigError, StageError, UsageError

START_SECONDS = 180  # on a busy machine, a server takes a minute to start
POLL_SECONDS, START_POLL_SECONDS = 0.2, 0.05
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
            ConfigError: the server at PREFECT_API_URL cannot be used.
            StageError: the shared server did not start, or the server refused a request or stopped answering.
            Exception: an error of `run` that was not caused by the server.
        """
        resumes = False
        keeper = _Keeper(self.shared)
        with in_background(keeper.keep, "keep-server"):
            while True:
                with announce("starting the Prefect server" if self.shared else "connecting to the Prefect server"):
                    self._wait(keeper)
                restarts = keeper.restarts
                try:
                    with interruption_first(), translate_prefect_errors(self._log):
                        return run(resumes)
                except UsageError:
                    raise
                except Exception:  # of any type, because Prefect raises many if its server is gone
                    if not keeper.lost_server(restarts):
                        raise
                logger.warning("the Prefect server died during the run; clipes resumes the run with the new server")
                resumes = True

    @property
    def _log(self) -> str:
        return str(self.shared.log) if self.shared else "the log of the server"

    def _wait(self, keeper: "_Keeper") -> None:
        end = time.monotonic() + (START_SECONDS if self.shared else 0)
        while fault := self._fault():
            if self.shared is None or not fault.may_pass:
                raise self._unusable(fault)
            if keeper.has_given_up or time.monotonic() > end:
                raise StageError(f"the Prefect server did not start: {self.shared.last_words}")
            time.sleep(START_POLL_SECONDS)
        keeper.has_answered = True

    def _fault(self) -> ServerFault | None:
        """Return why the server cannot be used now; None if it can be used."""
        if self.shared is not None and not self.shared.listens:  # Prefect's client would try again for 1.5 s
            return ServerFault("does not answer", may_pass=True)
        return find_fault(self.url)

    def _unusable(self, fault: ServerFault) -> ConfigError:
        url = without_password(self.url)
        if self.shared is not None:
            return ConfigError(f"the Prefect server that clipes started at {url} {fault.text}")
        setting = url_setting()
        return ConfigError(f"{setting}: {url} {fault.text}, or unset {setting.partition(' ')[0]}")


class _Keeper:
    """Restarts a shared server when it dies.

    A run may take weeks. Its workers do not need the server, so they continue while the server restarts. The new server
    has the same URL.

    Attributes:
        restarts: number of restarts so far.
        has_answered: true if a server of this URL has answered. If the first server dies before it has answered, it is
            not restarted, because the next server would fail for the same reason.
    """

    def __init__(self, server: SharedServer | None) -> None:
        self._server = server
        self.restarts = 0
        self.has_answered = False

    def keep(self, stop: threading.Event) -> None:
        """Restart the server whenever it dies, at most `MAX_RESTARTS` times, until `stop` is set."""
        while self._server is not None and self.restarts < MAX_RESTARTS:
            while self._server.alive:
                if stop.wait(POLL_SECONDS):
                    return
            if not self.has_answered:
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
            if self.restarts == restarts and not self._is_dead and find_fault(self._server.url) is None:
                return False
        return True

    @property
    def has_given_up(self) -> bool:
        """Return whether the server is dead and will not be restarted again."""
        return self._is_dead and (self.restarts == MAX_RESTARTS or not self.has_answered)

    @property
    def _is_dead(self) -> bool:
        return self._server is not None and not self._server.alive


@contextmanager
def provide_server() -> Iterator[Server]:
    """Yield the server at PREFECT_API_URL. If this variable is unset, yield the user's shared server on this machine.

    A shared server may still be starting when the block begins, and it lives at least as long as the block. Processes
    that the block starts use the same server.

    Raises:
        ConfigError: PREFECT_HOME, or a proxy that the environment names, cannot be used.
    """
    bypass_proxy_on_this_host()
    check_proxies()
    check_home(PREFECT_HOME.value())
    named = PREFECT_API_URL.value()
    if named:
        yield Server(named)
        return
    with _join_server(PREFECT_HOME.value()) as shared, _use_shared(shared.url):
        try:
            yield Server(shared.url, shared)
        finally:
            _drain()


def keep_server(show: Callable[[str], None]) -> None:
    """Keep the server available until Ctrl-C.

    Args:
        show: function that is called with the URL of the server's API as soon as the server answers.

    Raises:
        ConfigError: PREFECT_HOME, or the server at PREFECT_API_URL, cannot be used.
        StageError: the shared server did not start.
    """

    def wait(url: str) -> None:
        show(url)
        threading.Event().wait()

    with suppress(KeyboardInterrupt), provide_server() as server:
        server.record(lambda _: wait(server.url))


@contextmanager
def _join_server(home: Path) -> Iterator[SharedServer]:
    with ExitStack() as stack:
        with translate_home_errors(home):
            server = stack.enter_context(join_shared_server(home / "clipes-server"))
        yield server


@contextmanager
def _use_shared(url: str) -> Iterator[None]:
    """Use a shared server in this process and its children while the block runs.

    Prefect's heartbeats are switched off, because a run would wait for up to 1 s for their thread at its end. clipes
    finds dead runs without them.
    """
    os.environ["PREFECT_API_URL"] = url
    try:
        with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        del os.environ["PREFECT_API_URL"]


def _drain() -> None:
    """Send Prefect's logs and events while the server lives. At exit, Prefect waits a minute for a dead server."""
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
