"""Publish Prefect artifacts: build their keys, and tolerate a server that does not answer.

On the page of a flow run, the UI lists the artifacts of the flow run before those of its task runs, and each of the two
groups in random order. The results of a run therefore belong to the flow run, and all bookkeeping to task runs.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import Artifact
from prefect.client.schemas.objects import Artifact as CreatedArtifact
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from clipes.tasks.machine.prefect_server.errors import translate_prefect_errors
from clipes_core.errors import StageError

MAX_RETRIES = 1  # the retry comes after about 2 s; a run must not wait longer for the UI

TaskRuns = Mapping[str, UUID]  # name of a stage -> its first task run, from the moment when it is submitted

logger = logging.getLogger(__name__)


def artifact_key(run: str, *what: str) -> str:
    """Return the key of a Prefect artifact: the run's name and the words in `what`, in lower case, joined by dashes.

    Prefect accepts only keys of lower-case letters, digits and dashes. Runs with the same name share their keys, so the
    UI shows the history of each Prefect artifact across these runs.
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join((run, *what)).lower()).strip("-")


def create_artifact(artifact: Artifact) -> UUID:
    """Send a Prefect artifact to the server, and return its id. It belongs to the current flow run."""
    return cast(CreatedArtifact, artifact.create(_sync=True)).id  # type: ignore[call-arg] # Prefect's decorator adds it


def in_flow_run() -> bool:
    """Return whether this code runs in a Prefect flow run."""
    return FlowRunContext.get() is not None


class ServerWatch:
    """Prevents a failure of the Prefect server from ending a run, and logs only the first failure.

    Args:
        what: name of the published information, such as `progress`, for the log.
    """

    def __init__(self, what: str) -> None:
        self._what, self._has_warned = what, False

    @contextmanager
    def tolerate_failures(self) -> Iterator[None]:
        """Run a block that publishes Prefect artifacts. A failure of the server ends the block, but raises no error."""
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: MAX_RETRIES}), translate_prefect_errors():
                yield
        except StageError as exc:
            if not self._has_warned:
                logger.warning("the Prefect UI does not show the %s: %s", self._what, exc)
            self._has_warned = True
