"""The Prefect server that a run is recorded in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, temporary_settings

START_SECONDS = 180  # on a busy machine Prefect's own 20 are too few
DRAIN_SECONDS = 10.0


@contextmanager
def prefect_server() -> Iterator[str]:
    """The API URL of a server: the one that PREFECT_API_URL names, else one that lives as long as the block."""
    named = PREFECT_API_URL.value()
    if named:
        yield named
        return
    server = SubprocessASGIServer()
    server.start(timeout=START_SECONDS)
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            os.environ["PREFECT_API_URL"] = server.api_url
            try:
                yield server.api_url
            finally:
                _send_the_rest()
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.stop()


def _send_the_rest() -> None:
    """Logs and events still on their way would wait for a server that is gone, a minute at exit."""
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
