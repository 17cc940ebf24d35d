"""The report of a run: one HTML file that says what worked and what did not, written from the run's own files."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from clipes.tasks.report.artifacts import RunArtifacts
from clipes.tasks.report.facts import RunFacts, gather
from clipes.tasks.report.page import page
from clipes.tasks.report.ui_pages import show_run
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.recorder import RunRecord, recorded_run
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import ClipesError, RunBusyError

FILE = "report.html"

logger = logging.getLogger(__name__)


def write_report(store_uri: str, name: str) -> str:
    """Write `runs/<name>/report.html` of a run in any state.

    Returns:
        Its URI.

    Raises:
        UsageError: no run of this name is in the store, or an earlier version wrote it.
        ArtifactError: the store cannot be used.
    """
    return _written(ArtifactStore(store_uri), _facts(store_uri, name))


@contextmanager
def reported_run(run: PreparedRun) -> Iterator[RunRecord]:
    """As `recorded_run`, and a report after it, in any case.

    Raises:
        RunBusyError: a run of this name is going on now.
    """
    try:
        with recorded_run(run) as record:
            yield record
    except RunBusyError:
        raise
    except BaseException:
        uri = _report_or_warning(run)
        if uri is not None:
            logger.info("report: %s", uri)
        raise
    record.report = _report_or_warning(run)


def _facts(store_uri: str, name: str) -> RunFacts:
    status = read_run(store_uri, name)
    return gather(status, RunArtifacts(ArtifactStore(store_uri), name, status.shards))


def _written(store: ArtifactStore, facts: RunFacts) -> str:
    name = facts.config.name
    store.write_run_text(name, FILE, page(facts))
    return store.run_uri(name, FILE)


def _report_or_warning(run: PreparedRun) -> str | None:
    """A report that cannot be written or shown changes nothing of how the run ended; `clipes report` tries again."""
    name, uri = run.config.name, None
    try:
        facts = _facts(run.config.store, name)
        uri = _written(run.store, facts)
        show_run(facts, uri)
    except Exception as exc:
        unexpected, missing = not isinstance(exc, ClipesError | OSError), "pages in the UI" if uri else FILE
        logger.warning("no %s of run %s: %s: %s", missing, name, type(exc).__name__, exc, exc_info=unexpected)
    return uri
