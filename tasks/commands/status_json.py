"""Describe runs as JSON, for scripts. `docs/command-line.md` documents the entries, which later versions keep."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from clipes.tasks.runs.ledger import SHARD_STATES
from clipes.tasks.storage.layout import REJECTS_FILE, REPORT_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus
from clipes.tasks.storage.user_files import absolute
from clipes_core.errors import ClipesError
from clipes_core.evaluation.scored import SCORED

OF_A_SCORE = ("miou", "pixel_accuracy", "mean_accuracy", "images")
OF_AN_EXAMPLE = ("image_id", "uri", "reason")
UNREADABLE = "unreadable"  # state of a run whose files are broken


def status_json(store_uri: str, status: RunStatus) -> str:
    """Return the document that `clipes status --json` prints.

    Raises:
        BrokenArtifactError: rejects.parquet is broken.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    files = RunFiles(absolute(store_uri), status.run["name"])
    return _text({**_summary(files, status), "stages": _stages(status), "failures": _failures(files, status)})


def runs_json(store_uri: str, runs: Mapping[str, RunStatus | ClipesError]) -> str:
    """Return the document that `clipes runs --json` prints: a list of runs, the last started first.

    Args:
        store_uri: URI of the store.
        runs: name of each run -> its status, or the error that occurred when its files were read.
    """
    read = {name: found for name, found in runs.items() if isinstance(found, RunStatus)}
    names = sorted(read, key=lambda name: read[name].run["started"], reverse=True)
    broken = [
        {"name": name, "state": UNREADABLE, "error": str(found)}
        for name, found in runs.items()
        if not isinstance(found, RunStatus)
    ]
    return _text([*(_summary(RunFiles(absolute(store_uri), name), read[name]) for name in names), *broken])


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False)


def _summary(files: RunFiles, status: RunStatus) -> dict[str, Any]:
    run, metrics = status.run, status.metrics or {}
    return {
        "name": run["name"],
        "state": status.state,
        "error": run["error"],
        "started": run["started"],
        "finished": run["finished"],
        "until": run["until"],
        "photos": run["photos"],
        "rejects": status.rejects,
        "folder": files.folder,
        "report": None if files.find(REPORT_FILE) is None else files.uri(REPORT_FILE),
        "scores": {each.key: _score(metrics[each.key]) for each in SCORED if each.key in metrics},
    }


def _score(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: scores[name] for name in OF_A_SCORE}


def _stages(status: RunStatus) -> list[dict[str, Any]]:
    """Return the counts of each stage that the run has planned so far, in order."""
    found = []
    for stage in dict.fromkeys(row["stage"] for row in status.shards):
        rows = [row for row in status.shards if row["stage"] == stage]
        states = Counter(row["state"] for row in rows)
        found.append(
            {
                "stage": stage,
                "shards": {"total": len(rows), **{state: states[state] for state in SHARD_STATES}},
                "rows": sum(row["images"] for row in rows),
                "errors": sum(row["errors"] for row in rows),
                "busy_seconds": sum(row["seconds"] for row in rows),
            }
        )
    return found


def _failures(files: RunFiles, status: RunStatus) -> list[dict[str, Any]]:
    """Return the number of photos without a result, by stage and kind of failure, with the first photo of each."""
    if not status.rejects:
        return []
    counts, first = Counter[tuple[str, str]](), dict[tuple[str, str], dict[str, str]]()
    for row in files.read_rows(REJECTS_FILE):
        group = row["stage"], row["kind"]
        counts[group] += 1
        first.setdefault(group, {name: row[name] for name in OF_AN_EXAMPLE})
    return [
        {"stage": stage, "kind": kind, "photos": number, "first": first[stage, kind]}
        for (stage, kind), number in counts.most_common()
    ]
