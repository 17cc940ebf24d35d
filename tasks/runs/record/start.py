"""Start a run: check that it is not already running, archive the files of an earlier run, and write the first files."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.contents import manifest_table, ranked_before, ranked_json, run_json, time_now
from clipes.tasks.runs.record.shard_count import recorded_count
from clipes.tasks.storage.claims import Claim, claim_holder, claimed
from clipes.tasks.storage.layout import (
    BACKGROUND_TABLE,
    ESTIMATE_FILE,
    EVALUATION_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    RANKING_PLOT,
    RANKING_SCORES_PLOT,
    RANKING_SCORES_TABLE,
    RANKING_TABLE,
    REJECTS_FILE,
    REPORT_FILE,
    RUN_JSON,
    STATUS_FILE,
    SYNONYMS_TABLE,
    claims_uri,
)
from clipes.tasks.storage.run_files import RunFiles, run_identity
from clipes.tasks.storage.run_history import archive, further_photos
from clipes.tasks.storage.run_status import is_running
from clipes_core.config.run import parse_config
from clipes_core.errors import BrokenArtifactError, ConfigError, RunBusyError

RANKING_FILES = (
    RANKING_TABLE,
    RANKING_PLOT,
    RANKING_SCORES_TABLE,
    RANKING_SCORES_PLOT,
    SYNONYMS_TABLE,
    BACKGROUND_TABLE,
)
OTHER_FILES = (
    MANIFEST_FILE,
    EVALUATION_FILE,
    REJECTS_FILE,
    STATUS_FILE,
    METRICS_FILE,
    REPORT_FILE,
    ESTIMATE_FILE,
    *RANKING_FILES,
)
FILES = (*OTHER_FILES, RUN_JSON)  # in the order in which they are archived

GC_POLL_SECONDS = 1.0
ADVICE = "wait for it, stop it, or choose another --name"

logger = logging.getLogger(__name__)


@contextmanager
def claimed_run_name(run: PreparedRun) -> Iterator[Claim]:
    """Claim the name of a run while the block runs; first wait while `clipes gc` deletes artifacts of the store.

    In the block, no other process starts a run of this name, and `clipes gc` keeps the artifacts that the run uses.

    Raises:
        RunBusyError: a run of this name is already running.
        ArtifactError: the file of a claim is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    RunFiles(run.store.uri, run.config.name).find(RUN_JSON)  # reports a store that is missing or refuses access
    name = run.config.name
    with claimed(claims_uri(run.store.uri, "run", name), f"run {name}", ADVICE) as claim:
        wait_for_gc(run.store.uri)
        yield claim


def wait_for_gc(store_uri: str) -> None:
    """Wait while `clipes gc` deletes artifacts of a store.

    Raises:
        ArtifactError: the file of a claim is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    waiting = False
    while (held := claim_holder(claims_uri(store_uri, "gc"))) and not held[0].is_own:
        if not waiting:
            logger.info("waiting for clipes gc (process %d on %s), which deletes artifacts", held[0].pid, held[0].host)
        waiting = True
        time.sleep(GC_POLL_SECONDS)


def start_run(run: PreparedRun, claim: int) -> tuple[str, ...]:
    """Write run.json and the manifest. First archive the files of the last run of this name if a setting has changed.

    Args:
        run: the run.
        claim: number of the claim of its name.

    Returns:
        The names of the settings that have changed: dotted config keys, `until`, or the entry of run.json with the
        candidates of a ranking. The change is logged.

    Raises:
        ConfigError: the name is that of an ablation.
        RunBusyError: a run of this name is already running.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    files = RunFiles(run.store.uri, run.config.name)
    if run.reuse.verify:
        _report_damage(files)
    changed, previous = tuple[str, ...](), None
    try:
        last = files.read_run()
    except BrokenArtifactError as broken:
        folder = archive(files, time_now(), FILES)
        logger.warning(
            "%s %s: clipes rewrites it; the files of that run are now in %s", broken.uri, broken.reason, folder
        )
    else:
        if last is not None:
            _check_no_ablation(files, last)
            _check_not_running(files, last)
            changed = _archive_if_changed(run, files, last)
            previous = None if changed else _keep_result(files, last)
    begun = {**run_json(run), "claim": claim, "previous": previous}
    # first, so that the new run.json is never next to files of another run
    files.remove((*OTHER_FILES, *further_photos(files)))
    files.write_json(RUN_JSON, begun)
    files.write_table(MANIFEST_FILE, manifest_table(run.inputs.shards), run_identity(begun))
    if run.inputs.evaluation:
        files.write_table(EVALUATION_FILE, manifest_table(run.inputs.evaluation), run_identity(begun))
    return changed


def _keep_result(files: RunFiles, last: Mapping[str, Any]) -> str | None:
    """Keep the files of the last run with the same settings in the history until the new run has completed.

    Returns:
        The folder with the files of the last completed run; None if there is none.
    """
    return archive(files, last["started"], FILES) if last["state"] == "completed" else last.get("previous")


def _report_damage(files: RunFiles) -> None:
    """Warn of each damaged file of the last run of this name. The run replaces all of these files."""
    for file in FILES:
        try:
            files.check(file)
        except BrokenArtifactError as broken:
            logger.warning("%s %s: clipes rewrites it", broken.uri, broken.reason)


def _check_no_ablation(files: RunFiles, last: Mapping[str, Any]) -> None:
    if "ablation" in last:
        raise ConfigError(f"{files.name} is an ablation, and the run would replace its files: choose another --name")


def _check_not_running(files: RunFiles, last: Mapping[str, Any]) -> None:
    here = last["host"] == socket.gethostname()
    own = here and last["pid"] == os.getpid()
    has_lost_claim = "claim" in last and not here  # to this process, which has checked that the old claim has ended
    if not own and not has_lost_claim and is_running(files, last):
        raise RunBusyError(f"run {files.name} is already running (process {last['pid']} on {last['host']}): {ADVICE}")


def _archive_if_changed(run: PreparedRun, files: RunFiles, last: Mapping[str, Any]) -> tuple[str, ...]:
    before = {**_with_defaults(last["config"]), "until": last["until"], **ranked_before(last)}
    after = {**run.config.model_dump(mode="json"), "until": run.until, **ranked_json(run.inputs.ranking)}
    if run.config.execution.shards == "auto" or run.inputs.shard_count == recorded_count(last):
        after["execution"]["shards"] = before.get("execution", {}).get("shards")  # the user has not changed the number
    changed = tuple(_changed_keys(before, after))
    if changed:
        folder = archive(files, last["started"], FILES)
        logger.info(
            "settings changed since the last run named %s: %s; the files of that run are now in %s",
            files.name,
            ", ".join(changed),
            folder,
        )
    return changed


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of an earlier run; set keys that did not exist at that time to their defaults."""
    try:
        return parse_config(config).model_dump(mode="json")
    except ConfigError:  # a key was removed or renamed since then; it is reported as a changed setting
        return config


def _changed_keys(before: Any, after: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _changed_keys(before.get(key), after.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif before != after:
        yield prefix
