"""Read the progress of a run from its files, and find out whether the run is still running."""

import re
import shlex
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.machine.processes import is_alive
from clipes.tasks.storage.claims import claim_holder
from clipes.tasks.storage.layout import (
    MANIFEST_FILE,
    METRICS_FILE,
    REJECTS_FILE,
    RUN_JSON,
    STATUS_FILE,
    claims_uri,
    runs_uri,
)
from clipes.tasks.storage.listing import list_names
from clipes.tasks.storage.parquet.errors import MISSING
from clipes.tasks.storage.run_files import SEALED_FILES, RunFiles, list_runs, run_identity
from clipes_core.config.run import RUN_NAME
from clipes_core.errors import BrokenArtifactError, ClipesError, RunBusyError, UsageError
from clipes_core.vocabulary import Vocabulary

OF_COMPLETED = (MANIFEST_FILE, STATUS_FILE, REJECTS_FILE, METRICS_FILE)  # files that every completed run has
MAX_SIMILAR, MAX_LISTED = 3, 10  # names in the message about a run that does not exist
SILENT_SECONDS = 60.0  # a run on another host counts as stopped if its status file is older than this


@dataclass(frozen=True)
class RunStatus:
    """The content of a run's files.

    Attributes:
        run: content of run.json.
        shards: rows of status.parquet, with the URIs of the artifacts.
        metrics: content of metrics.json; None before the end of the run.
        rejects: number of rejected photos, equal to the number of rows in rejects.parquet.
        interrupted: if True, the run stopped without recording its end in run.json.
    """

    run: dict[str, Any]
    shards: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    rejects: int
    interrupted: bool

    @property
    def state(self) -> str:
        """State of the run: running, interrupted, completed, failed or cancelled."""
        return "interrupted" if self.interrupted else str(self.run["state"])

    def made(self, stage: str) -> dict[int, str]:
        """Return shard -> URI of its artifact, for each artifact that a stage has so far."""
        return {row["shard"]: row["artifact"] for row in self.shards if row["stage"] == stage and row["artifact"]}

    def artifacts(self, stage: str) -> tuple[str, ...]:
        """Return the URIs of the artifacts that a stage has so far."""
        return tuple(self.made(stage).values())


def read_run(store_uri: str, name: str) -> RunStatus:
    """Read the files of a run.

    Raises:
        UsageError: the store has no run of this name.
        RunBusyError: a file is missing, because another run of this name is starting.
        BrokenArtifactError: a file is broken.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    files, run = RunFiles(store_uri, name), find_run(store_uri, name)
    try:
        return _read_files(files, run)
    except BrokenArtifactError:
        if files.read_run() != run:
            return read_run(store_uri, name)  # a run has started or ended while the files were read
        check_not_starting(files, run)
        raise


def find_run(store_uri: str, name: str) -> dict[str, Any]:
    """Read only the run.json of a run. The errors are those of `read_run`."""
    run = RunFiles(store_uri, name).read_run() if re.fullmatch(RUN_NAME, name) else None  # ../x names no run
    if run is None:
        raise UsageError(_why_unknown(store_uri, name))
    return run


def _why_unknown(store_uri: str, name: str) -> str:
    """Return a message about a run that does not exist, with the names that may be meant."""
    if path := re.fullmatch(r"(?:(.*)/)?runs/([^/]+)/*", name):
        store, run = path[1] or ".", path[2]
        return f"NAME is the name of a run, not a path: write {shlex.join([run, '--store', store])} instead of {name}"
    names = list_names(runs_uri(store_uri))
    if names is None and list_names(store_uri) is None:
        return f"no run {name} in {store_uri}, which does not exist: name the store of the run with --store"
    similar = get_close_matches(name, names or (), n=MAX_SIMILAR)
    meant = f"; did you mean {' or '.join(similar)}?" if similar else ";"
    listed = ", ".join((names or [])[:MAX_LISTED]) or "none"
    more = f" and {len(names) - MAX_LISTED} others" if names and len(names) > MAX_LISTED else ""
    return f"no run {name} in {store_uri}{meant} existing runs: {listed}{more}. To search another store, use --store"


def recorded_vocabulary(run: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary of a run.

    Args:
        run: content of the run's run.json.

    Raises:
        UsageError: it is an ablation, whose runs have the results; or an earlier version of clipes wrote it.
    """
    if "ablation" in run:
        raise UsageError(f"{run['name']} is an ablation; name one of its runs: {', '.join(run['ablation']['runs'])}")
    if "vocabulary" not in run:
        raise UsageError(f"run {run['name']} was written by an earlier version of clipes: run it again")
    return Vocabulary.model_validate(run["vocabulary"])


def read_runs(store_uri: str) -> dict[str, RunStatus | ClipesError]:
    """Return name of each run in a store -> its status, or the error that occurs when its files are read.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """

    def read(name: str) -> RunStatus | ClipesError:
        try:
            return read_run(store_uri, name)
        except ClipesError as exc:
            return exc

    names = list_runs(store_uri)
    return dict(zip(names, map_in_threads(read, names), strict=True))


def _read_files(files: RunFiles, run: dict[str, Any]) -> RunStatus:
    check_belongings(files, run)
    return RunStatus(
        run,
        [] if files.find(STATUS_FILE) is None else files.read_status(),
        files.read_metrics(),
        0 if files.find(REJECTS_FILE) is None else files.read_table(REJECTS_FILE).num_rows,
        interrupted=run["state"] == "running" and not is_running(files, run),
    )


def check_not_starting(files: RunFiles, run: Mapping[str, Any] | None) -> None:
    """Raise RunBusyError if another run has claimed the name, but has not yet replaced run.json.

    Args:
        files: files of the run.
        run: content of run.json; None if it is missing or damaged.
    """
    held = claim_holder(claims_uri(files.store_uri, "run", files.name))
    if held is not None and held[1] != (run or {}).get("claim"):
        process = f"process {held[0].pid} on {held[0].host}"
        raise RunBusyError(f"run {files.name} is starting ({process}): try again in a minute")


def check_belongings(files: RunFiles, run: Mapping[str, Any]) -> None:
    """Check that the files next to the run.json of a run are its own, and that none is missing.

    At its end, a run states the seals of its files in run.json. The files of runs without seals must state that they
    belong to the run. Files of earlier versions do not state it, and are accepted.

    Args:
        files: files of the run.
        run: content of the run's run.json.

    Raises:
        BrokenArtifactError: a file is missing, belongs to another run, or is an older or another file of this run.
    """
    check_name(files, run)
    required = run.get("seals", OF_COMPLETED if run["state"] == "completed" else ())
    for file in SEALED_FILES:
        exists = files.find(file) is not None
        if not exists and file in required:  # run.json was written after these files
            raise BrokenArtifactError(files.uri(file), MISSING, "run again")
        if exists and (reason := why_foreign(files, run, file)):
            raise BrokenArtifactError(files.uri(file), reason, "run again")


def why_foreign(files: RunFiles, run: Mapping[str, Any], file: str) -> str | None:
    """Return why an existing file does not belong to the run.json next to it; None if it belongs to it.

    Args:
        files: files of the run.
        run: content of the run's run.json.
        file: metrics.json, or the name of a table.

    Raises:
        BrokenArtifactError: the file is broken.
    """
    sealed = "seals" in run
    if sealed and run["seals"].get(file) == files.seal(file):
        return None
    writer, name = files.origin(file)
    if writer not in (None, run_identity(run)):
        return "belongs to another run"
    if name not in (None, file):
        return f"has the content of {name}"
    return "does not belong to the end of the run" if sealed else None


def check_name(files: RunFiles, run: Mapping[str, Any]) -> None:
    """Raise BrokenArtifactError if the run.json in the folder of a run belongs to a run of another name."""
    if run["name"] != files.name:
        raise BrokenArtifactError(files.uri(RUN_JSON), f"belongs to run {run['name']}", "run again")


def may_be_running(run: Mapping[str, Any]) -> bool:
    """Return False if run.json states that a run has ended, or if the process of the run is on this host and is dead.

    Otherwise return True: the process is alive, or it is on another host, where it cannot be checked.
    """
    here = run["host"] == socket.gethostname()
    return run["state"] == "running" and (not here or is_alive(run["pid"], run["pid_started"]))


def is_running(files: RunFiles, run: Mapping[str, Any]) -> bool:
    """Return whether a run is running.

    A run that has not ended is running if there is a sign of life. For a run on this host, this means that the process
    is alive. For a run on another host, it means that the run still holds the claim of its name. Runs of earlier
    versions have no claim: for them, it means that the status file was written within the last SILENT_SECONDS.

    Args:
        files: files of the run.
        run: content of the run's run.json.
    """
    if not may_be_running(run):
        return False
    if run["host"] == socket.gethostname():
        return True
    if "claim" in run:
        held = claim_holder(claims_uri(files.store_uri, "run", files.name))
        return held is not None and held[1] == run["claim"]
    status = files.find(STATUS_FILE)
    return status is not None and time.time() - (status.modified or 0) < SILENT_SECONDS
