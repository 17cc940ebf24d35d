"""Artifacts that no run uses any more, and what killed processes have left half written."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import artifact_of, is_temporary
from clipes.tasks.storage.listing import FileFacts
from clipes.tasks.storage.run_status import may_be_running
from clipes_core.errors import ArtifactError, RunBusyError, UsageError

HOUR = 3600.0
DAY = 24 * HOUR
UNITS = {"h": HOUR, "d": DAY}
LEFTOVERS = "half written"  # beside the stages


@dataclass(frozen=True)
class GarbageCount:
    """What of a stage is in no use; the stage of temporary files is `half written`."""

    stage: str
    files: int
    size_bytes: int


def seconds_of(age: str) -> float:
    """An age such as 7d or 12h.

    Raises:
        UsageError: it is none.
    """
    number, unit = age[:-1], age[-1:]
    if unit not in UNITS or not number.isdecimal():
        raise UsageError(f"--older-than {age}: expected a number of days or hours, as 7d or 12h")
    return int(number) * UNITS[unit]


def find_garbage(store: ArtifactStore, older_than_s: float, now: float) -> dict[str, list[FileFacts]]:
    """What may go, by stage; only looks.

    Of a run that completed, the artifacts that its status names are in use. Of any other, which may go on or be
    resumed, all under its stage keys are, and all texts where it ranks templates. Runs in a history are not asked.

    Args:
        store: where to look.
        older_than_s: artifacts younger than this stay; half-written files stay for a day.
        now: seconds since 1970.

    Raises:
        UsageError: there is no store.
        RunBusyError: hardly anything is to be spared for its youth, and a run may be going on.
        ArtifactError: what a run uses cannot be told.
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    files = store.files()  # before the runs are read: what a run that begins meanwhile writes is not among them
    if not files:
        raise UsageError(f"no artifacts and no runs in {store.uri}: name another store with --store")
    used: set[tuple[str, ...]] = set()
    for name in store.run_names():
        run = _run(store, name)
        if older_than_s < HOUR and may_be_running(run):
            raise RunBusyError(
                f"run {name} may be going on now, on {run['host']}: give --older-than 1h or more, "
                "so that nothing goes that it has just made, or wait for its end"
            )
        used |= _used(store, name, run)
    found: dict[str, list[FileFacts]] = {}
    for file in files:
        stage = _garbage_of(file, used, now, older_than_s)
        if stage is not None:
            found.setdefault(stage, []).append(file)
    return {stage: found[stage] for stage in sorted(found)}


def counted_garbage(found: Mapping[str, Iterable[FileFacts]]) -> list[GarbageCount]:
    """How much there is, by stage."""
    sizes = {stage: [file.size_bytes for file in files] for stage, files in found.items()}
    return [GarbageCount(stage, len(each), sum(each)) for stage, each in sizes.items()]


def remove_garbage(store: ArtifactStore, found: Mapping[str, Iterable[FileFacts]]) -> None:
    """Remove what was found; what is gone already is passed over."""
    for files in found.values():
        for file in files:
            store.discard(file.uri)


def _run(store: ArtifactStore, name: str) -> dict[str, Any]:
    with _nothing_deleted(store, name):
        run = store.read_run_json(name, "run.json")
        if not isinstance(run, dict) or not {"state", "host", "stage_keys"} <= run.keys():
            raise ArtifactError("its run.json is missing, or says too little")
        return run


def _used(store: ArtifactStore, name: str, run: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """Return the stages, stage keys and artifacts that a run uses, as (stage[, stage_key[, file]])."""
    if run["state"] == "completed" and store.run_file(name, "status.parquet") is not None:
        with _nothing_deleted(store, name):
            artifacts = store.read(store.run_uri(name, "status.parquet"), ["artifact"])["artifact"].to_pylist()
        return {path for path in map(artifact_of, artifacts) if path is not None}
    stage_keys: set[tuple[str, ...]] = set(run["stage_keys"].items())
    return {*stage_keys, ("texts",)} if run.get("candidates") else stage_keys


@contextmanager
def _nothing_deleted(store: ArtifactStore, name: str) -> Iterator[None]:
    try:
        yield
    except ArtifactError as exc:
        raise ArtifactError(
            f"nothing is deleted, for what run {name} uses cannot be told ({exc}): "
            f"run it again, or remove {store.run_uri(name)}"
        ) from exc


def _garbage_of(file: FileFacts, used: set[tuple[str, ...]], now: float, older_than_s: float) -> str | None:
    """The stage that a file is garbage of; None where it stays."""
    if file.modified is None:
        return None
    age = now - file.modified
    if is_temporary(file.uri):
        return LEFTOVERS if age > DAY else None
    path = artifact_of(file.uri)
    if path is None or age < older_than_s:
        return None
    return path.stage if used.isdisjoint({path[:1], path[:2], path}) else None
