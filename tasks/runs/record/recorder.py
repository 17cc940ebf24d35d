"""Write the files that record a run: at the start of the run, while the run lasts, and at its end."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.interruption import interruption_first
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.metrics_json import run_metrics
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.contents import chosen_values, rejects_table, run_json, status_table, time_now
from clipes.tasks.runs.record.start import FILES, claimed_run_name, start_run, wait_for_gc
from clipes.tasks.stages.registry import MANIFEST
from clipes.tasks.storage.claims import Claim
from clipes.tasks.storage.layout import MANIFEST_FILE, METRICS_FILE, REJECTS_FILE, RUN_JSON, STATUS_FILE
from clipes.tasks.storage.retry_policy import shard_policy
from clipes.tasks.storage.run_files import RunFiles, read_seals, run_identity
from clipes.tasks.storage.run_history import remove_archive
from clipes_core.errors import ArtifactError, BrokenArtifactError, RunBusyError, StorageError, TransientError

STATUS_SECONDS = 10.0
# With 100 000 shards, writing status.parquet takes seconds. The pause after it is at least this many times as long.
PAUSE_PER_WRITE = 4

State = Literal["running", "completed", "failed", "cancelled"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run.

    Attributes:
        name: name of the run.
        uri: URI of the run's folder in the store.
        rejects: number of photos without a result.
        metrics: content of metrics.json.
        report: URI of report.html; None if it could not be written.
        to_check: number of photos whose masks a person should check; None if they were not counted.
    """

    name: str
    uri: str
    rejects: int
    metrics: dict[str, Any]
    report: str | None = None
    to_check: int | None = None


class RunRecord:
    """Writes the files of a run that is running in this process.

    Attributes:
        ledger: state of the run's shards.
        identity: text with which the files of the run state that they belong to it.
        report: URI of report.html; None until it is written.
        to_check: number of photos whose masks a person should check; None until they are counted.
        findings: additional entries for metrics.json; `run_metrics` returns all other entries.
    """

    def __init__(self, run: PreparedRun, claim: Claim) -> None:
        self._claim = claim
        self._run, self._files = run, RunFiles(run.store.uri, run.config.name)
        self.report: str | None = None
        self.to_check: int | None = None
        self.findings: dict[str, Any] = {}
        limits, listed = run.config.execution, run.photos + len(run.rejects)
        self.ledger = Ledger(listed, limits.max_failure_rate, run.evaluated, limits.tolerated_failures)
        start_run(run, claim.number)
        self._begun = self._files.read_run() or {}
        self.identity = run_identity(self._begun)
        self._metrics: dict[str, Any] = {}
        self.ledger.planned(MANIFEST, 0)
        self.ledger.finished(self._manifest_record(), attempt=1)
        self.write_status()

    def write_status(self) -> None:
        """Write the current state of the shards to status.parquet.

        Raises:
            RunBusyError: another process has taken over the name of the run.
            StorageError: the store refuses the write.
            TransientError: the store does not answer.
        """
        self._claim.check()
        self._files.write_table(STATUS_FILE, status_table(self.ledger, self._run.store.uri), self.identity)

    def close(self, state: State, error: str | None = None) -> None:
        """Write the outcome of the run; retry up to `execution.retries` times.

        Args:
            state: final state of the run.
            error: reason of the failure; None if the run did not fail.

        Raises:
            ArtifactError: the metrics depend on an artifact that cannot be read.
            RunBusyError: another process has taken over the name of the run.
            StorageError: the store refuses the write.
            TransientError: the store did not answer in any attempt.
        """
        self.ledger.end("not run: the run was stopped" if state == "cancelled" else "not run: the run failed before")
        policy = shard_policy(self._run.config.execution.retries)
        self._metrics = policy.call(self._write_end, state, error)

    def summary(self) -> RunSummary:
        """Return the outcome of the run; call it after `close`."""
        rejects = len(self.ledger.rejects())
        return RunSummary(self._files.name, self._files.folder, rejects, self._metrics, self.report, self.to_check)

    def _write_end(self, state: State, error: str | None) -> dict[str, Any]:
        """Write status, rejects and metrics, and last the outcome to run.json; return the metrics.

        run.json is written last, and states the seals of the other files. A run whose run.json states an end therefore
        has all of its other files, and clipes notices an older version of one of them.
        """
        self.confirm()
        self.write_status()
        self._files.write_table(REJECTS_FILE, rejects_table(self.ledger.rejects()), self.identity)
        try:
            found = run_metrics(self._run, self.ledger)
            metrics = {**self.findings, **found, "run": self.identity}
            self._files.write_json(METRICS_FILE, metrics)
            seals = read_seals(self._files)
        except ArtifactError as exc:
            self._write_outcome("failed" if state == "completed" else state, error or str(exc))
            raise
        self._write_outcome(state, error, seals)
        return metrics

    def confirm(self) -> None:
        """Check that no other process has claimed the name of the run since; call this before a write to its folder.

        Raises:
            RunBusyError: another process has claimed it.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        self._claim.confirm()

    def choose(self, run: PreparedRun) -> None:
        """Write the run's template and the keys of its stages to run.json; the config in run.json stays unchanged.

        Args:
            run: the run after its choice.

        Raises:
            RunBusyError, StorageError and TransientError, as for `confirm`.
        """
        self.confirm()
        self._files.write_json(RUN_JSON, {**_read_or(run_json(run), self._files), **chosen_values(run)})
        wait_for_gc(run.store.uri)  # it may not have known the new stage keys yet

    def _write_outcome(self, state: State, error: str | None, seals: Mapping[str, str] | None = None) -> None:
        self.confirm()
        begun = _read_or(self._begun, self._files)
        previous = begun.pop("previous", None)
        kept = {"previous": previous} if state != "completed" else {}
        sealed = {} if seals is None else {"seals": seals}
        end = {"state": state, "finished": time_now(), "error": error, **kept, **sealed}
        self._files.write_json(RUN_JSON, {**begun, **end})
        if previous is not None and state == "completed":
            remove_archive(self._files, previous, FILES)
        elif previous is not None:
            logger.info("the files of the last completed run are in %s", self._files.uri(previous))

    def _manifest_record(self) -> ShardRecord:
        run = self._run
        return ShardRecord(MANIFEST, 0, self._files.uri(MANIFEST_FILE), run.photos, cached=False, rejects=run.rejects)


def _read_or(begun: dict[str, Any], files: RunFiles) -> dict[str, Any]:
    """Return the content of run.json; return a copy of `begun` if the file is missing or damaged."""
    try:
        return files.read_run() or dict(begun)
    except BrokenArtifactError as broken:
        logger.warning("%s %s: clipes rewrites it", broken.uri, broken.reason)
        return dict(begun)


@contextmanager
def record_run(run: PreparedRun) -> Iterator[RunRecord]:
    """Write the first files of a run before the block, its status during the block, and its outcome after the block.

    The outcome is also written if the block fails or is interrupted.

    Raises:
        ConfigError: the name is that of an ablation.
        RunBusyError: a run of this name is already running.
    """
    with claimed_run_name(run) as claim:
        record = RunRecord(run, claim)
        with closed_if_it_fails(record.close), _write_status_regularly(record):
            yield record
        record.close("completed")


@contextmanager
def closed_if_it_fails(close: Callable[[State, str | None], None]) -> Iterator[None]:
    """Write the outcome of a run if the block fails or is interrupted, and raise the error of the block.

    Args:
        close: function that writes the state, and the reason of a failure. If the store, a damaged artifact or a lost
            claim prevents this, only a warning is logged.
    """
    try:
        with interruption_first():
            yield
    except Exception as exc:
        _close_or_warn(close, "failed", str(exc))
        raise
    except BaseException:
        _close_or_warn(close, "cancelled")
        raise


def _close_or_warn(close: Callable[[State, str | None], None], state: State, error: str | None = None) -> None:
    try:
        close(state, error)
    except (ArtifactError, RunBusyError, StorageError, TransientError) as exc:
        logger.warning("the run has ended (%s), but its files could not be updated: %s", state, exc)


@contextmanager
def _write_status_regularly(record: RunRecord) -> Iterator[None]:
    def write(stop: threading.Event) -> None:
        pause = STATUS_SECONDS
        while not stop.wait(pause):
            began = time.monotonic()
            try:
                record.write_status()
            except RunBusyError:
                return  # the thread that renews the claim has logged it
            except (ArtifactError, StorageError, TransientError) as exc:
                logger.warning("could not write status.parquet; will retry: %s", exc)
            pause = max(STATUS_SECONDS, PAUSE_PER_WRITE * (time.monotonic() - began))

    with in_background(write, "status"):
        yield
