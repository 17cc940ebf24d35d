"""What a run's files say of it: how far it is, and whether it still goes on."""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.machine.processes import is_alive
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import UsageError

SILENT_SECONDS = 60.0  # a run of another machine that has not written its status for as long counts as gone


@dataclass(frozen=True)
class RunStatus:
    """What `clipes status` shows.

    Attributes:
        run: run.json.
        shards: rows of status.parquet.
        metrics: metrics.json, None before the run's end.
        rejects: how many photos have no result.
        interrupted: the run stopped without saying so.
    """

    run: dict[str, Any]
    shards: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    rejects: int
    interrupted: bool

    def artifacts(self, stage: str) -> tuple[str, ...]:
        """URIs of the artifacts that a stage has so far."""
        return tuple(row["artifact"] for row in self.shards if row["stage"] == stage and row["artifact"])


def read_run(store_uri: str, name: str) -> RunStatus:
    """What is known of a run.

    Raises:
        UsageError: no run of this name is in the store.
    """
    store = ArtifactStore(store_uri)
    run = store.read_run_json(name, "run.json")
    if run is None:
        known = ", ".join(store.run_names()) or "none"
        raise UsageError(f"no run {name} in {store_uri}; there are: {known}. Name another store with --store")
    return RunStatus(
        run,
        _run_rows(store, name, "status.parquet"),
        store.read_run_json(name, "metrics.json"),
        len(_run_rows(store, name, "rejects.parquet")),
        interrupted=run["state"] == "running" and not goes_on(store, run),
    )


def _run_rows(store: ArtifactStore, name: str, file: str) -> list[dict[str, Any]]:
    if store.run_file(name, file) is None:
        return []
    return store.read(store.run_uri(name, file)).to_pylist()


def may_be_running(run: Mapping[str, Any]) -> bool:
    """Whether a run is said to go on and is not known to have ended: one of this machine has a process."""
    here = run["host"] == socket.gethostname()
    return run["state"] == "running" and (not here or is_alive(run["pid"], run["pid_started"]))


def goes_on(store: ArtifactStore, run: Mapping[str, Any]) -> bool:
    """Whether a run goes on: its process is there; or, on another machine, has written its status not long ago."""
    if not may_be_running(run):
        return False
    if run["host"] == socket.gethostname():
        return True
    status = store.run_file(run["name"], "status.parquet")
    return status is not None and time.time() - (status.modified or 0) < SILENT_SECONDS
