"""The content of the files in a run's folder: run.json, and the Parquet files of photos, shards and rejects."""

import os
import platform
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any

import pyarrow as pa

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.machine.processes import started_at
from clipes.tasks.plan.keys import validation_digest
from clipes.tasks.plan.run_inputs import Ranking
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.registry import RANKINGS, ranking_of
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.storage.layout import location_in
from clipes.tasks.storage.run_schemas.tables import MANIFEST_SCHEMA, REJECTS_SCHEMA, STATUS_SCHEMA
from clipes_core.config.run import RunConfig

REPORTED_PACKAGES = (
    "clipes",
    "torch",
    "torchvision",
    "open_clip_torch",
    "numba",
    "numpy",
    "opencv-python",
    "prefect",
)
ROWS_AT_ONCE = 10_000
OPTIONAL_PACKAGES = {  # package -> the setting that needs it
    "onedl-mmengine": "train.enabled=true",
    "onedl-mmcv": "train.enabled=true",
    "onedl-mmsegmentation": "train.enabled=true",
    "pydensecrf2": "crf.backend=pydensecrf",
    "tokenizers": "clip.model=ViT-B-16-SigLIP",  # or another model with a tokenizer of its own
}


def run_json(run: PreparedRun) -> dict[str, Any]:
    """Return the content of run.json at the start of a run in this process."""
    return {
        **begun_json(run.config, run.until),
        "model_digest": run.inputs.model_digest,
        "precision": run.inputs.precision,
        **chosen_values(run),
        **ranked_json(run.inputs.ranking),
        "photos": run.photos,
        "shards": run.inputs.shard_count,
        "rejected": len(run.rejects),
        "evaluation_rejected": run.evaluation_rejects,
        "validation": validation_digest(run.inputs.validation),
        "notes": list(run.notes),
        "vocabulary": run.inputs.vocabulary.model_dump(mode="json"),
    }


def ranked_json(ranking: Ranking | None) -> dict[str, list[str]]:
    """Return the entries of run.json that list the candidates of rankings, one entry for each kind of ranking.

    Args:
        ranking: what the run ranks; None if it ranks nothing.
    """
    return {kind.entry: list(ranking.candidates) if isinstance(ranking, kind) else [] for kind in RANKINGS}


def ranked_before(last: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the entries of `ranked_json` from the run.json of an earlier run.

    Earlier versions listed the candidates of all kinds in the entry `candidates`.
    """
    kind = ranking_of(last["until"])
    if kind is not None and kind.entry not in last:
        return ranked_json(kind(tuple(last.get("candidates", ()))))
    return {kind.entry: last.get(kind.entry, []) for kind in RANKINGS}


def begun_json(config: RunConfig, until: str) -> dict[str, Any]:
    """Return the entries of run.json that say what starts in this process, and with which versions of packages."""
    return {
        "name": config.name,
        "state": "running",
        "started": time_now(),
        "finished": None,
        "error": None,
        "until": until,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": started_at(os.getpid()),
        "versions": {"python": platform.python_version(), **_installed_versions()},
        "config": config.model_dump(mode="json"),
    }


def _installed_versions() -> dict[str, str]:
    versions = {name: version(name) for name in REPORTED_PACKAGES}
    for name in OPTIONAL_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def chosen_values(run: PreparedRun) -> dict[str, Any]:
    """Return the entries of run.json that a ranking of templates can change: the template and the stage keys.

    The template is None until it is chosen. In a run of `clipes prompts`, it stays None.
    """
    template = run.config.prompts.template if TEXTS.name in run.stages and not run.chooses_template else None
    return {"template": template, "stage_keys": dict(run.keys)}


def manifest_table(shards: Mapping[int, tuple[Photo, ...]]) -> pa.Table:
    """Return the content of manifest.parquet or evaluation.parquet: one row per photo, with the number of its shard."""
    names = [name for name in MANIFEST_SCHEMA.names if name != "shard"]
    rows = (
        {**{name: getattr(photo, name) for name in names}, "shard": shard}
        for shard, photos in shards.items()
        for photo in photos
    )
    # A few rows at a time, because rows as Python objects need ten times the memory of the table.
    few = iter(lambda: list(islice(rows, ROWS_AT_ONCE)), [])
    batches = [pa.RecordBatch.from_pylist(each, schema=MANIFEST_SCHEMA) for each in few]
    return pa.Table.from_batches(batches, schema=MANIFEST_SCHEMA)


def status_table(ledger: Ledger, store_uri: str) -> pa.Table:
    """Return the content of status.parquet: one row per shard, with its state.

    Locations of artifacts are relative to the store, so that the store can be moved or copied.
    """
    rows = [{**asdict(each), "artifact": location_in(store_uri, each.artifact)} for each in ledger.statuses()]
    return pa.Table.from_pylist(rows, schema=STATUS_SCHEMA)


def rejects_table(rejects: Iterable[Reject]) -> pa.Table:
    """Return the content of rejects.parquet: one row per photo without a result."""
    return pa.Table.from_pylist([asdict(reject) for reject in rejects], schema=REJECTS_SCHEMA)


def time_now() -> str:
    """Return the current time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
