"""Write the report of a run: one HTML file that shows results and failures, made from the run's files."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from clipes.tasks.report.facts import RunFacts, gather
from clipes.tasks.report.further_photos import further_files, write_further_photos
from clipes.tasks.report.gallery.pictures import Pictures
from clipes.tasks.report.html_page import page
from clipes.tasks.report.ui_pages import show_run
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.recorder import RunRecord, record_run
from clipes.tasks.storage.layout import REPORT_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_history import further_photos
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import ArtifactError, ClipesError, RunBusyError, StorageError, TransientError

logger = logging.getLogger(__name__)


def write_report(store_uri: str, name: str) -> str:
    """Write `runs/<name>/report.html` for a run in any state. All of its pictures are made again.

    Returns:
        URI of the report.

    Raises:
        UsageError: no run of this name is in the store, or an earlier version of clipes wrote it.
        ArtifactError: run.json, status.parquet, rejects.parquet or metrics.json is broken; or another file cannot be
            read, and the run has a report already. If it has none, the new report says which content it lacks.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    files = RunFiles(store_uri, name)
    facts = _gather(files, Pictures())
    content = page(facts)
    _check_not_worse(files, facts.artifacts.unreadable)
    return _write(files, facts, content)


@contextmanager
def report_run(run: PreparedRun) -> Iterator[RunRecord]:
    """Record a run with `record_run`, and write its report after the `with` block, even if the block fails.

    The pictures that the run's last report already holds are not made again.

    Raises:
        RunBusyError: a run of this name is already running. In this case, no report is written.
    """
    record: RunRecord | None = None
    pictures = _last_pictures(RunFiles(run.store.uri, run.config.name))  # now, because the run removes the last report
    try:
        with record_run(run) as record:
            yield record
    except RunBusyError:
        raise
    except BaseException:
        uri = _report_or_warn(run, record, pictures) if record is not None else None
        if uri is not None:
            logger.info("report: %s", uri)
        raise
    record.report = _report_or_warn(run, record, pictures)


def _last_pictures(files: RunFiles) -> Pictures:
    """Return the pictures of the run's last report; none if there is no report, or if it cannot be read."""
    try:
        return Pictures(files.read_html(REPORT_FILE))
    except (ArtifactError, StorageError, TransientError):
        return Pictures()


def _gather(files: RunFiles, pictures: Pictures) -> RunFacts:
    status = read_run(files.store_uri, files.name)
    return gather(status, RunArtifacts(files, status.shards), pictures)


def _check_not_worse(files: RunFiles, unreadable: Mapping[str, str]) -> None:
    """Raise ArtifactError if the run has a page already, and a new page would lack the content of unreadable files."""
    if unreadable and files.find(REPORT_FILE) is not None:
        first = next(iter(unreadable.values()))
        raise ArtifactError(
            f"{files.uri(REPORT_FILE)} was not replaced, because a new report would lack the content of "
            f"{len(unreadable)} files, the first of which is {first}. Run again, or delete this report to replace it"
        )


def _write(files: RunFiles, facts: RunFacts, content: str) -> str:
    """Write the files with further photos, then the page that names them; remove files that the page does not name."""
    write_further_photos(files, facts)
    files.write_html(REPORT_FILE, content)
    further = further_files(facts)
    files.remove([file for file in further_photos(files) if further is None or file not in further.files])
    return files.uri(REPORT_FILE)


def _report_or_warn(run: PreparedRun, record: RunRecord, pictures: Pictures) -> str | None:
    """Write the report and show the run in the Prefect UI; log a warning if either fails.

    A failure is not raised, because the user can write the report later with `clipes report`.

    Returns:
        The URI of the report; None if it could not be written.
    """
    files, uri = RunFiles(run.store.uri, run.config.name), None
    try:
        record.confirm()
        facts = _gather(files, pictures)
        record.to_check = len(facts.to_check) if facts.masks else None
        uri = _write(files, facts, page(facts))
        show_run(facts, uri)
    except Exception as exc:
        unexpected, missing = not isinstance(exc, ClipesError | OSError), "the pages in the UI" if uri else REPORT_FILE
        logger.warning(
            "run %s: could not write %s: %s: %s", files.name, missing, type(exc).__name__, exc, exc_info=unexpected
        )
    return uri
