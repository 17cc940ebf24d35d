"""Runs of a few photos, whose shards real workers make without Prefect."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from support.pool_calls import call

from clipes.tasks.execution.local_runner import LocalRunner
from clipes.tasks.execution.make_shard import cached_record, make_shard
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.jobs import ShardRecord, shard_job
from clipes.tasks.plan.shard_plan import ShardPlan, digests_by_id, read_digests
from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.contents import manifest_table
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import MANIFEST_FILE, RUN_JSON
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import RunConfig, parse_config

TIMEOUT_S = 120.0
TINY_NETWORK = Path(__file__).parent / "mmseg_configs" / "tiny.py"
Records = dict[tuple[str, int], ShardRecord]


@dataclass(frozen=True)
class Made:
    """A run and the records of its shards."""

    run: PreparedRun
    records: Records

    def of(self, stage: str) -> list[ShardRecord]:
        """Return the records of a stage."""
        return [record for (name, _), record in self.records.items() if name == stage]

    def rows(self, stage: str) -> dict[str, dict[str, Any]]:
        """Return image_id -> row of a stage."""
        return rows_of(self.run.store, (record.uri for record in self.of(stage)))

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Return stage -> (images, copied rows, computed rows) for the stages with one row per photo."""
        return {stage.name: self._count(stage.name) for stage in self.run.own_stages() if stage.kind.per_photo}

    def _count(self, stage: str) -> tuple[int, int, int]:
        found = [(record.images, record.copied, record.computed) for record in self.of(stage)]
        images, copied, computed = (sum(column) for column in zip(*found, strict=True))
        return images, copied, computed


class PoolRunner(LocalRunner):
    """A local runner that uses a given pool of workers and does not close it, so that many tests can share the pool.

    Args:
        pool: pool that makes the shards of all stages.
        config: config of the run.
    """

    def __init__(self, pool: WorkerPool, config: RunConfig) -> None:
        super().__init__(config)
        self._counters, self._pools = pool.counters, dict.fromkeys(("cpu", "gpu"), pool)


def make_run(run: PreparedRun, pool: WorkerPool) -> Made:
    """Make or reuse every shard of a run in the order of the stages, and return the records."""
    ledger = make_all_shards(run, pool)
    return Made(run, {(record.stage, record.shard): record for record in ledger.records()})


def make_all_shards(run: PreparedRun, pool: WorkerPool) -> Ledger:
    """Make or reuse every shard of a run as the task runs do, which rebuilds damaged artifacts; return the ledger."""
    return make_all_shards_with(PoolRunner(pool, run.config), run)


def make_all_shards_with(runner: Runner, run: PreparedRun) -> Ledger:
    """Make or reuse every shard of a run with an open runner, and return the ledger."""
    ledger = Ledger(run.photos, 1)
    for stage_shards in stage_shards_of(run, ledger, runner):
        make_stage_shards(stage_shards, run)
    return ledger


def all_stage_shards(run: PreparedRun, ledger: Ledger, pool: WorkerPool) -> list[StageShards]:
    """Return the shards of each stage of a run, to be made in a pool."""
    return stage_shards_of(run, ledger, PoolRunner(pool, run.config))


def stage_shards_of(run: PreparedRun, ledger: Ledger, runner: Runner) -> list[StageShards]:
    """Return the shards of each stage of a run, to be made by an open runner."""
    if any(stage.kind.of_training for stage in run.own_stages()):  # a training reads the manifest
        run_files(run).write_table(MANIFEST_FILE, manifest_table(run.inputs.shards))
    found: dict[str, StageShards] = {}
    for stage in run.own_stages():
        read = (each.name for each in (*stage.upstream, *stage.after) if each.name in run.stages)
        upstream = {name: found[name] for name in read}
        found[stage.name] = StageShards(run, ledger, stage, runner, upstream)
    return list(found.values())


def make_stage_shards(stage_shards: StageShards, run: PreparedRun) -> None:
    """Make or reuse all shards of a stage."""
    stage, ledger = stage_shards.stage, stage_shards.ledger
    for shard in run.shards(stage):
        ledger.planned(stage.name, shard)
        ledger.started(stage.name, shard, 1)
        ledger.finished(stage_shards.make(shard), 1)


def planned(run: PreparedRun, stage: Stage, shard: int, records: Records) -> ShardPlan:
    """Return the plan of a shard that reads the artifacts of `records`.

    An artifact of texts without a record is read from the URI that its plan gives.
    """

    def uri(read: Stage, own: int) -> str:
        if read.kind.per_photo or (read.name, own) in records:
            return records[read.name, own].uri
        return run.store.artifact_uri(planned(run, read, own, records).key)

    uris = {
        read.name: tuple(uri(read, own) for own in stage.shards_read(read, run.inputs, shard))
        for read in stage.upstream
    }
    digests = {
        read.name: digests_by_id(read_digests(run.store, uri) for uri in uris[read.name])
        for read in stage.photo_upstream
    }
    return run.plan(stage, shard, uris, digests)


def make_or_reuse_shard(run: PreparedRun, stage: Stage, plan: ShardPlan, pool: WorkerPool) -> ShardRecord:
    """Make or reuse one shard, and return its record."""
    if plan.cached:
        return cached_record(stage, plan, run.store)
    job = shard_job(stage, plan, run.store, run.inputs, plan.shard)
    return call(pool, make_shard, job, timeout_s=TIMEOUT_S)


def photos_by_shard(run: PreparedRun, stage: Stage) -> dict[int, tuple[Photo, ...]]:
    """Return shard -> the photos of the shard that have a row in a stage."""
    return {shard: stage.kind.photos(stage, run.inputs, shard) for shard in run.shards(stage)}


def run_files(run: PreparedRun) -> RunFiles:
    """Return access to the files of a run."""
    return RunFiles(run.store.uri, run.config.name)


def remove_seals(files: RunFiles) -> None:
    """Remove the seals from run.json, so that a test can replace files of the run; earlier versions wrote none."""
    run = files.read_run() or {}
    files.write_json(RUN_JSON, {name: value for name, value in run.items() if name != "seals"})


def rows_of(store: ArtifactStore, uris: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return image_id -> row of some artifacts."""
    return {row["image_id"]: row for uri in uris for row in store.read_rows(uri)}


class TinyPhotos:
    """A data set of format `list`, with 64 x 48 px crops of one photo, and a small CLIP whose CAMs mean nothing.

    Args:
        folder: empty folder for the photos, the list and the store.
        source: RGB photo to crop.
        weights: weights of the small CLIP.
    """

    def __init__(self, folder: Path, source: Image.Image, weights: Path) -> None:
        self.folder, self._source, self._weights = folder, source, weights
        self._rows: dict[str, tuple[str, str, str]] = {}

    def add(self, name: str, labels: str = "cat", size: tuple[int, int] = (64, 48), truth: str = "") -> Path:
        """Write or overwrite a photo, list it with labels separated by `;`, and return its path."""
        path = self.folder / f"{name}.png"
        left, top = sum(name.encode()) % 97, len(self._rows) * 8 % 97
        self._source.crop((left, top, left + size[0], top + size[1])).save(path)
        self.label(name, labels, truth)
        return path

    def label(self, name: str, labels: str, truth: str = "") -> None:
        """List a photo with labels; the photo need not exist."""
        self._rows[name] = (f"{name}.png", labels, truth)

    def remove(self, name: str) -> None:
        """Remove a photo from the list, but keep its file."""
        del self._rows[name]

    def config(self, **sections: Any) -> RunConfig:
        """Write the list, and return a config of the data set; `sections` override its values."""
        with (self.folder / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "labels", "truth"), *self._rows.values()])
        dataset = {"format": "list", "root": str(self.folder), "split": str(self.folder / "list.csv")}
        values = {
            "name": "tiny",
            "store": str(self.folder / "store"),
            "dataset": dataset,
            "clip": {"pretrained": str(self._weights), "precision": "fp32", "device": "cpu"},
            "crf": {"iter_max": 1},
            "execution": {"shards": 1, "max_failure_rate": 1},
            "train": {"enabled": False},
        }
        given = {
            name: {**values.get(name, {}), **value} if isinstance(value, dict) else value
            for name, value in sections.items()
        }
        return parse_config({**values, **given})
