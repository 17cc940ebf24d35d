"""Find and delete artifacts that no run uses any more, and half-written files that killed processes left behind."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from clipes.tasks.inputs.sources.index_files import version_keys
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.claims import claimed
from clipes.tasks.storage.files import remove
from clipes.tasks.storage.filesystem import is_disk_full
from clipes.tasks.storage.layout import (
    EVALUATION_FILE,
    MANIFEST_FILE,
    RUN_JSON,
    STATUS_FILE,
    archive_indexes_uri,
    artifact_of,
    artifacts_uri,
    claims_uri,
    is_part,
    is_temporary,
    runs_uri,
    version_key_of,
)
from clipes.tasks.storage.listing import FileFacts, find_file, list_below, list_names
from clipes.tasks.storage.parquet.errors import MISSING
from clipes.tasks.storage.run_files import RunFiles, list_runs
from clipes.tasks.storage.run_status import check_name, check_not_starting, may_be_running, why_foreign
from clipes.tasks.storage.user_files import canonical, is_below
from clipes_core.errors import ArtifactError, BrokenArtifactError, RunBusyError, StorageError, UsageError

HOUR = 3600.0
DAY = 24 * HOUR
UNITS = {"h": HOUR, "d": DAY}
MOST_DIGITS = 9  # of an age
LEFTOVERS, INDEXES = "half written", "archive indexes"  # shown in place of a stage

Use = tuple[str, ...]  # (stage,), (stage, stage_key) or (stage, stage_key, file): these artifacts are in use


@dataclass(frozen=True)
class GarbageCount:
    """The number and the total size of a stage's unused files. `stage` is a stage, LEFTOVERS or INDEXES."""

    stage: str
    files: int
    size_bytes: int


def seconds_of(age: str) -> float:
    """Convert an age such as 7d or 12h to seconds.

    Raises:
        UsageError: the text is not an age.
    """
    number, unit = age[:-1], age[-1:]
    if unit not in UNITS or not number.isdecimal() or len(number) > MOST_DIGITS:
        raise UsageError(f"--older-than {age}: expected a number of days or hours, such as 7d or 12h")
    return int(number) * UNITS[unit]


def find_garbage(store_uri: str, older_than_s: float, now: float) -> dict[str, list[FileFacts]]:
    """Find the files that can be deleted, grouped by stage; delete nothing.

    A completed run uses the artifacts that are listed in its status file. A run that is not completed may still be
    running, or may be resumed later. All artifacts with one of its stage keys therefore count as used. The same holds
    for a completed run whose status file lacks a stage or an artifact. If such a run ranks templates, all artifacts of
    the stage `texts` count as used too. The parts of a shard count as used only if a run that is not completed uses all
    artifacts with their stage key. If several runs have had the same name, only the last of them uses artifacts. A run
    uses the indexes of the archives that contain its photos and true masks, as its manifests state.

    Args:
        store_uri: URI of the store.
        older_than_s: age [s]; younger artifacts and indexes are kept. For half-written files, this age is always one
            day.
        now: current time, in seconds since 1970.

    Returns:
        Stage (or LEFTOVERS or INDEXES) -> unused files, sorted by stage.

    Raises:
        UsageError: the store has no artifacts and no runs; or its artifacts lie outside the store.
        RunBusyError: a run is starting; or `older_than_s` is below an hour, and a run may be running.
        ArtifactError: the files of a run are broken, so clipes cannot know which artifacts the run uses.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    _check_within(store_uri)
    # List the files before reading the runs: the list then has no files of runs that start in between.
    folders = (artifacts_uri, archive_indexes_uri, runs_uri, claims_uri)
    files = [file for folder in folders for file in list_below(folder(store_uri))]
    if not files:
        raise UsageError(f"no artifacts and no runs in {store_uri}: name another store with --store")
    used: set[Use] = set()
    _check_none_starts(store_uri)
    runs = [run for run in (RunFiles(store_uri, name) for name in list_runs(store_uri)) if _is_run(run)]
    for run in runs:
        used |= _used_by(run, young_are_kept=older_than_s >= HOUR)
    found: dict[str, list[FileFacts]] = {}
    for file in files:
        stage = _garbage_stage(file, used, now, older_than_s)
        if stage is not None:
            found.setdefault(stage, []).append(file)
    if indexes := _unused_indexes(files, runs, now - older_than_s):
        found[INDEXES] = indexes
    return {stage: found[stage] for stage in sorted(found)}


def counted_garbage(found: Mapping[str, Iterable[FileFacts]]) -> list[GarbageCount]:
    """Count the files and bytes of each stage."""
    sizes = {stage: [file.size_bytes for file in files] for stage, files in found.items()}
    return [GarbageCount(stage, len(each), sum(each)) for stage, each in sizes.items()]


def remove_garbage(store_uri: str, older_than_s: float, now: float) -> dict[str, list[FileFacts]]:
    """Find the files that can be deleted, as `find_garbage` does, and delete them.

    Runs that start or choose a template meanwhile wait until the files are deleted. A run that started before has
    recorded what it uses. So no file is deleted that a run has counted as cached.

    Returns:
        The deleted files, as `find_garbage` returns them.

    Raises:
        RunBusyError: another `clipes gc` is deleting files of this store; or for a reason that `find_garbage` names.
        StorageError: the disk is full, so the store cannot be claimed; or for a reason that `find_garbage` names.
        UsageError, ArtifactError, TransientError: the errors of `find_garbage`.
    """
    first = find_garbage(store_uri, older_than_s, now)  # raises an error before anything is written to a wrong store
    if not first:
        return {}
    claiming = claimed(claims_uri(store_uri, "gc"), "clipes gc", "wait for it, or stop it")
    with _advise_on_full_disk(first), claiming as claim:
        found = find_garbage(store_uri, older_than_s, now)
        for files in found.values():
            for file in files:
                claim.check()
                remove(file.uri)
    return found


def _check_within(store_uri: str) -> None:
    """Raise UsageError if a link leads to artifacts outside the store, which runs of another store may use."""
    artifacts = canonical(artifacts_uri(store_uri))
    if not is_below(artifacts, canonical(store_uri)):
        raise UsageError(
            f"nothing was deleted: {artifacts_uri(store_uri)} is a link to {artifacts}, and runs of other stores may "
            "use the artifacts there; move the whole store to that disk, and name it with --store"
        )


def _check_none_starts(store_uri: str) -> None:
    """Raise RunBusyError if a run has claimed its name but has not yet recorded what it uses."""
    for name in list_names(claims_uri(store_uri, "run")) or ():
        files, run = RunFiles(store_uri, name), None
        with suppress(BrokenArtifactError):  # the run that starts replaces its run.json
            run = files.read_run()
        check_not_starting(files, run)


def _is_run(files: RunFiles) -> bool:
    """Return False for an empty folder and for a file."""
    return find_file(files.folder) is None or bool(list_names(files.folder))


def _used_by(files: RunFiles, young_are_kept: bool) -> set[Use]:
    with _refuse_to_delete(files):
        run = files.read_run()
        if run is None:
            raise BrokenArtifactError(files.uri(RUN_JSON), MISSING, "run again")
        check_name(files, run)
    if may_be_running(run) and not young_are_kept:
        raise RunBusyError(
            f"run {files.name} may be running now, on {run['host']}: wait until it ends, or give "
            "--older-than 1h or more, so that the artifacts that the run has just made are kept"
        )
    if run["state"] == "completed" and files.find(STATUS_FILE) is not None:
        with _refuse_to_delete(files):
            own = why_foreign(files, run, STATUS_FILE) is None
            shards = files.read_status() if own else []
        complete = run["stage_keys"].keys() <= {shard["stage"] for shard in shards}
        if complete and all(shard["artifact"] for shard in shards):  # otherwise, the status contradicts run.json
            return {path for shard in shards if (path := artifact_of(shard["artifact"])) is not None}
    known = [STAGES[name] for name in run["stage_keys"] if name in STAGES]
    stored_elsewhere: set[Use] = {(stage.stored_as.name,) for stage in known if stage.stored_as is not None}
    return stored_elsewhere.union(run["stage_keys"].items())


def _unused_indexes(files: Iterable[FileFacts], runs: Iterable[RunFiles], before: float) -> list[FileFacts]:
    """Return the indexes of archives that were written before a time [s since 1970], and that no run uses."""
    old = [
        (file, version)
        for file in files
        if (version := version_key_of(file.uri)) is not None and file.modified is not None and file.modified <= before
    ]
    used = set[str]().union(*map(_versions_used_by, runs)) if old else set()  # manifests may be large
    return [file for file, version in old if version not in used]


def _versions_used_by(files: RunFiles) -> set[str]:
    """Return the version keys of the archives that contain photos or true masks of a run."""
    used: set[str] = set()
    with _refuse_to_delete(files):
        for file in (MANIFEST_FILE, EVALUATION_FILE):
            if files.find(file) is not None:
                for fingerprints in files.read_table(file, ["fingerprint", "truth_fingerprint"]).columns:
                    used |= version_keys(fingerprints)
    return used


@contextmanager
def _advise_on_full_disk(garbage: Mapping[str, Iterable[FileFacts]]) -> Iterator[None]:
    """If the disk is too full for a claim, say which unused file can be deleted by hand."""
    try:
        yield
    except StorageError as exc:
        if not is_disk_full(exc):
            raise
        largest = max((file for files in garbage.values() for file in files), key=lambda file: file.size_bytes)
        raise StorageError(
            f"{exc}. clipes gc must write this small file before it deletes anything: delete any other file on this "
            f"disk; or, while no run uses the store, delete {largest.uri}, which no run needs"
        ) from exc


@contextmanager
def _refuse_to_delete(files: RunFiles) -> Iterator[None]:
    try:
        yield
    except BrokenArtifactError as broken:
        raise ArtifactError(
            f"nothing was deleted, because the artifacts that run {files.name} uses are unknown ({broken.uri} "
            f"{broken.reason}): start that run again, or remove {files.folder}"
        ) from broken


def _garbage_stage(file: FileFacts, used: set[Use], now: float, older_than_s: float) -> str | None:
    """Return the stage of an unused file, or LEFTOVERS; None if the file must be kept or is the index of an archive."""
    if file.modified is None:
        return None
    age = now - file.modified
    if is_temporary(file.uri):
        return LEFTOVERS if age > DAY else None
    path = artifact_of(file.uri)
    if path is None or age < older_than_s:
        return None
    uses = {path[:1], path[:2]} if is_part(file.uri) else {path[:1], path[:2], path}
    return path.stage if used.isdisjoint(uses) else None
