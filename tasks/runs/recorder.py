"""The files of a run under <store>/runs/<name>: what was asked, what became of it, and the numbers."""

import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

import pyarrow as pa
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_exponential

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.processes import started_at
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.metrics import run_metrics
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import MANIFEST
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.storage.run_status import goes_on
from clipes_core.errors import RunBusyError, StorageError, TransientError

logger = logging.getLogger(__name__)

STATUS_SECONDS = 10.0
WRITING_SHARE = 4  # with 100 000 shards a status takes seconds to write; it is written less often then
FIRST_WAIT_S, LAST_WAIT_S = 2, 120
RANKING_FILES = ("prompts.parquet", "prompts.png", "prompt_scores.parquet", "prompt_scores.png")
WRITTEN_AT_THE_END = ("rejects.parquet", "status.parquet", "metrics.json", "report.html", *RANKING_FILES)
EVALUATION_FILE = "evaluation.parquet"  # as manifest.parquet, of the photos that the segmenter is scored on
FILES = ("run.json", "manifest.parquet", EVALUATION_FILE, *WRITTEN_AT_THE_END)
REPORTED_PACKAGES = (
    *("clipes", "torch", "torchvision", "open_clip_torch", "pydensecrf2", "numpy", "opencv-python", "prefect"),
    *("onedl-mmengine", "onedl-mmcv", "onedl-mmsegmentation"),
)
MANIFEST_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("size_bytes", pa.int64()),
        ("fingerprint", pa.string()),
        ("class_ids", pa.list_(pa.int16())),
        ("shard", pa.int32()),
        ("truth_uri", pa.string()),
        ("truth_fingerprint", pa.string()),
    ]
)
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in ("image_id", "uri", "stage", "kind", "reason")])

State = Literal["running", "completed", "failed", "cancelled"]


def open_run(run: PreparedRun) -> tuple[str, ...]:
    """Write run.json and the manifest; put the files of a run of other keys or another extent into history.

    Returns:
        The config keys that differ from the last run of this name, dotted, `until` among them; they are logged.

    Raises:
        RunBusyError: a run of this name is going on now.
    """
    last = run.store.read_run_json(run.config.name, "run.json")
    changed: tuple[str, ...] = ()
    if last is not None:
        _check_not_running(run, last)
        changed = _put_into_history(run, last)
    run.store.remove_run_files(run.config.name, (EVALUATION_FILE, *WRITTEN_AT_THE_END))
    run.store.write_run_table(run.config.name, "manifest.parquet", _manifest(run.inputs.shards))
    if run.inputs.evaluation:
        run.store.write_run_table(run.config.name, EVALUATION_FILE, _manifest(run.inputs.evaluation))
    run.store.write_run_json(run.config.name, "run.json", _run_json(run))
    return changed


@dataclass(frozen=True)
class RunSummary:
    """What a run came to.

    Attributes:
        name: of the run.
        uri: its folder in the store.
        rejects: how many photos have no result.
        metrics: the content of metrics.json.
        report: URI of report.html, None where it could not be written.
    """

    name: str
    uri: str
    rejects: int
    metrics: dict[str, Any]
    report: str | None = None


class RunRecord:
    """A run that is being written down.

    Attributes:
        ledger: what becomes of its shards.
        report: URI of report.html once it is written.
        findings: what metrics.json holds beside scores and counts.
    """

    def __init__(self, run: PreparedRun) -> None:
        self._run = run
        self.report: str | None = None
        self.findings: dict[str, Any] = {}
        rate, evaluated = run.config.execution.max_failure_rate, run.evaluated
        self.ledger = Ledger(run.photos + len(run.rejects), rate, evaluated)
        open_run(run)
        self._metrics: dict[str, Any] = {}
        self.ledger.planned(MANIFEST, 0)
        self.ledger.finished(_manifest_record(run), attempt=1)
        write_status(run, self.ledger)

    def close(self, state: State, error: str | None = None) -> None:
        """Write how the run ended; as a shard, it is tried again `execution.retries` times.

        Raises:
            StorageError: the store refuses.
            TransientError: it did not answer in any attempt.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(1 + self._run.config.execution.retries),
            wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LAST_WAIT_S),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        self._metrics = attempts(close_run, self._run, self.ledger, state, error, self.findings)

    def summary(self) -> RunSummary:
        """What the run came to, once it is closed."""
        name = self._run.config.name
        uri = self._run.store.run_uri(name)
        return RunSummary(name, uri, len(self.ledger.rejects()), self._metrics, self.report)


def record_choice(run: PreparedRun) -> None:
    """Write the template and the keys of a run whose template or sample was chosen; its config stays as given."""
    name, store = run.config.name, run.store
    begun = store.read_run_json(name, "run.json") or _run_json(run)
    store.write_run_json(name, "run.json", {**begun, **_chosen(run)})


@contextmanager
def recorded_run(run: PreparedRun) -> Iterator[RunRecord]:
    """Write run.json and the manifest before the block, and what became of the run after it, in any case.

    Raises:
        RunBusyError: a run of this name is going on now.
    """
    record = RunRecord(run)
    try:
        with _written_from_time_to_time(run, record.ledger):
            yield record
    except Exception as exc:
        _close_or_warn(record, "failed", str(exc))
        raise
    except BaseException:
        _close_or_warn(record, "cancelled")
        raise
    record.close("completed")


def _close_or_warn(record: RunRecord, state: State, error: str | None = None) -> None:
    """Why the run ended is told in any case, also where the store is what it ended for."""
    try:
        record.close(state, error)
    except (StorageError, TransientError) as exc:
        logger.warning("that the run %s could not be written: %s", state, exc)


@contextmanager
def _written_from_time_to_time(run: PreparedRun, ledger: Ledger) -> Iterator[None]:
    def write(stop: threading.Event) -> None:
        pause = STATUS_SECONDS
        while not stop.wait(pause):
            begun = time.monotonic()
            try:
                write_status(run, ledger)
            except (StorageError, TransientError) as exc:
                logger.warning("status.parquet could not be written, it will be tried again: %s", exc)
            pause = max(STATUS_SECONDS, WRITING_SHARE * (time.monotonic() - begun))

    with in_background(write, "status"):
        yield


def close_run(
    run: PreparedRun, ledger: Ledger, state: State, error: str | None, findings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write what became of the run: its end in run.json first, then status, rejects and metrics.

    Args:
        run: which run.
        ledger: what became of its shards.
        state: how it ended.
        error: why it failed.
        findings: what metrics.json holds beside scores and counts.

    Returns:
        The content of metrics.json.

    Raises:
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    name, store = run.config.name, run.store
    begun = store.read_run_json(name, "run.json") or _run_json(run)
    store.write_run_json(name, "run.json", {**begun, "state": state, "finished": _now(), "error": error})
    write_status(run, ledger)
    store.write_run_table(name, "rejects.parquet", _rejects(ledger.rejects()))
    metrics = {**findings, **run_metrics(run, ledger)}
    store.write_run_json(name, "metrics.json", metrics)
    return metrics


def write_status(run: PreparedRun, ledger: Ledger) -> None:
    """Write status.parquet as things stand."""
    run.store.write_run_table(run.config.name, "status.parquet", ledger.table())


def _run_json(run: PreparedRun) -> dict[str, Any]:
    return {
        "name": run.config.name,
        "state": "running",
        "started": _now(),
        "finished": None,
        "error": None,
        "until": run.until,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": started_at(os.getpid()),
        "model_digest": run.inputs.model_digest,
        "precision": run.inputs.precision,
        **_chosen(run),
        "candidates": list(run.inputs.candidates),
        "photos": run.photos,
        "rejected": len(run.rejects),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in REPORTED_PACKAGES}},
        "config": run.config.model_dump(mode="json"),
        "vocabulary": run.vocabulary.model_dump(mode="json"),
    }


def _chosen(run: PreparedRun) -> dict[str, Any]:
    """What is known when no template is to be chosen any more; the template is null in a ranking."""
    template = run.config.prompts.template if TEXTS.name in run.stages and not run.chooses_template else None
    return {"template": template, "stage_keys": dict(run.keys)}


def _manifest(shards: Mapping[int, tuple[Photo, ...]]) -> pa.Table:
    rows = [{**asdict(photo), "shard": shard} for shard, photos in shards.items() for photo in photos]
    return pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)


def _manifest_record(run: PreparedRun) -> ShardRecord:
    uri = run.store.run_uri(run.config.name, "manifest.parquet")
    return ShardRecord(MANIFEST, 0, uri, run.photos, cached=False, rejects=run.rejects)


def _rejects(rejects: Iterable[Reject]) -> pa.Table:
    return pa.Table.from_pylist([asdict(reject) for reject in rejects], schema=REJECTS_SCHEMA)


def _put_into_history(run: PreparedRun, last: Mapping[str, Any]) -> tuple[str, ...]:
    before = {**last["config"], "until": last["until"], "candidates": last.get("candidates", [])}
    asked = {**run.config.model_dump(mode="json"), "until": run.until, "candidates": list(run.inputs.candidates)}
    changed = tuple(_changed_keys(before, asked))
    if changed:
        folder = last["started"].replace(":", "")
        run.store.archive_run(run.config.name, folder, FILES)
        logger.info(
            "changed since the last run named %s, whose files are now in history/%s: %s",
            *(run.config.name, folder, ", ".join(changed)),
        )
    return changed


def _check_not_running(run: PreparedRun, last: Mapping[str, Any]) -> None:
    own = last["host"] == socket.gethostname() and last["pid"] == os.getpid()
    if goes_on(run.store, last) and not own:
        raise RunBusyError(
            f"run {run.config.name} is going on now (process {last['pid']} on {last['host']}): "
            "wait for it, stop it, or give this one another --name"
        )


def _changed_keys(before: Any, after: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _changed_keys(before.get(key), after.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif before != after:
        yield prefix


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
