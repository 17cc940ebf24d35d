"""The way to the Prefect UI: keys of artifacts, and a server that may be gone."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

MAX_RETRIES = 1  # after about 2 s; what is only shown is worth no longer wait

logger = logging.getLogger(__name__)


def artifact_key(run: str, *what: str) -> str:
    """The key of an artifact: a run's name and a noun in lower case with dashes, as Prefect wants it.

    Runs of one name share their keys, so that the UI shows each artifact's history over them.
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join((run, *what)).lower()).strip("-")


def in_flow_run() -> bool:
    """Whether there is a flow run that artifacts would belong to."""
    return FlowRunContext.get() is not None


class ServerWatch:
    """Publishes while the server answers; that it does not is told once, and ends nothing.

    Args:
        what: is published, for the log.
    """

    def __init__(self, what: str) -> None:
        self._what, self._told = what, False

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Artifacts created or updated in the block; the first that fails is the last of the block."""
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: MAX_RETRIES}):
                yield
        except (httpx.HTTPError, PrefectException) as exc:
            if not self._told:
                logger.warning("%s not shown in the Prefect UI: %s: %s", self._what, type(exc).__name__, exc)
            self._told = True
