"""Small runs for the tests of the stages: a few photos, a store, and each shard made by a real worker."""

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
from clipes.tasks.plan.shard_plan import ShardPlan, output_digests
from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import RunConfig, parse_config

TIMEOUT_S = 120.0
TINY_NETWORK = Path(__file__).parent / "mmseg_configs" / "tiny.py"
Records = dict[tuple[str, int], ShardRecord]


@dataclass(frozen=True)
class Made:
    """A run whose shards are made, without Prefect."""

    run: PreparedRun
    records: Records

    def of(self, stage: str) -> list[ShardRecord]:
        return [record for (name, _), record in self.records.items() if name == stage]

    def rows(self, stage: str) -> dict[str, dict[str, Any]]:
        """image_id -> row of a stage."""
        return rows_of(self.run.store, (record.uri for record in self.of(stage)))

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """stage -> images, copied and computed rows, of the stages with a row per photo."""
        return {stage.name: self._count(stage.name) for stage in self.run.own_stages() if stage.kind.per_photo}

    def _count(self, stage: str) -> tuple[int, int, int]:
        found = [(record.images, record.copied, record.computed) for record in self.of(stage)]
        images, copied, computed = (sum(column) for column in zip(*found, strict=True))
        return images, copied, computed


class PoolRunner(LocalRunner):
    """A local runner on a pool of workers that many tests share, and that stays open.

    Args:
        pool: makes the shards of all kinds of stages.
        config: of the run.
    """

    def __init__(self, pool: WorkerPool, config: RunConfig) -> None:
        super().__init__(config)
        self._counters, self._pools = pool.counters, dict.fromkeys(("cpu", "gpu"), pool)


def make_run(run: PreparedRun, pool: WorkerPool) -> Made:
    """Make or reuse every shard of a run, in the order of the stages."""
    ledger = worked_through(run, pool)
    return Made(run, {(record.stage, record.shard): record for record in ledger.records()})


def worked_through(run: PreparedRun, pool: WorkerPool) -> Ledger:
    """Make or reuse every shard of a run as its task runs do; damaged artifacts are repaired on the way."""
    return made_with(PoolRunner(pool, run.config), run)


def made_with(runner: Runner, run: PreparedRun) -> Ledger:
    """Make or reuse every shard of a run with a runner that is open."""
    ledger = Ledger(run.photos, 1)
    for stage_shards in _stage_shards(run, ledger, runner):
        work_on(stage_shards, run)
    return ledger


def all_stage_shards(run: PreparedRun, ledger: Ledger, pool: WorkerPool) -> list[StageShards]:
    """The shards of each stage of a run, on a pool."""
    return _stage_shards(run, ledger, PoolRunner(pool, run.config))


def _stage_shards(run: PreparedRun, ledger: Ledger, runner: Runner) -> list[StageShards]:
    found: dict[str, StageShards] = {}
    for stage in run.own_stages():
        upstream = {read.name: found[read.name] for read in stage.upstream}
        found[stage.name] = StageShards(run, ledger, stage, runner, upstream)
    return list(found.values())


def work_on(stage_shards: StageShards, run: PreparedRun) -> None:
    """Make or reuse all shards of a stage."""
    stage, ledger = stage_shards.stage, stage_shards.ledger
    for shard in run.shards(stage):
        ledger.planned(stage.name, shard)
        ledger.started(stage.name, shard, 1)
        ledger.finished(stage_shards.make(shard), 1)


def planned(run: PreparedRun, stage: Stage, shard: int, records: Records) -> ShardPlan:
    """The plan of a shard that reads what records are of; texts lie where they would without a record, too."""

    def uri(read: Stage, own: int) -> str:
        if read.kind.per_photo or (read.name, own) in records:
            return records[read.name, own].uri
        return run.store.artifact_uri(planned(run, read, own, records).key)

    uris = {
        read.name: tuple(uri(read, own) for own in stage.shards_read(read, run.inputs, shard))
        for read in stage.upstream
    }
    digests = {read.name: output_digests(run.store, *uris[read.name]) for read in stage.photo_upstream}
    return run.plan(stage, shard, uris, digests)


def made_shard(run: PreparedRun, stage: Stage, plan: ShardPlan, pool: WorkerPool) -> ShardRecord:
    """Reuse or make one shard."""
    if plan.cached:
        return cached_record(stage, plan, run.store)
    job = shard_job(stage, plan, run.store, run.inputs, plan.shard)
    return call(pool, make_shard, job, timeout_s=TIMEOUT_S)


def photos_by_shard(run: PreparedRun, stage: Stage) -> dict[int, tuple[Photo, ...]]:
    """shard -> its photos that have a row in a stage."""
    return {shard: stage.kind.photos(stage, run.inputs, shard) for shard in run.shards(stage)}


def run_files(run: PreparedRun) -> RunFiles:
    """The files of a run."""
    return RunFiles(run.store.uri, run.config.name)


def rows_of(store: ArtifactStore, uris: Iterable[str]) -> dict[str, dict[str, Any]]:
    """image_id -> row of some artifacts."""
    return {row["image_id"]: row for uri in uris for row in store.read_rows(uri)}


class TinyPhotos:
    """A list data set of crops of one photo, 64 x 48 px, with weights whose CAMs mean nothing.

    Args:
        folder: an empty one; photos, list and store lie in it.
        source: RGB photo to crop.
        weights: of a small CLIP.
    """

    def __init__(self, folder: Path, source: Image.Image, weights: Path) -> None:
        self.folder, self._source, self._weights = folder, source, weights
        self._rows: dict[str, tuple[str, str, str]] = {}

    def add(self, name: str, labels: str = "cat", size: tuple[int, int] = (64, 48), truth: str = "") -> Path:
        """Write a photo, or write it anew, and list it under labels separated by `;`."""
        path = self.folder / f"{name}.png"
        left, top = sum(name.encode()) % 97, len(self._rows) * 8 % 97
        self._source.crop((left, top, left + size[0], top + size[1])).save(path)
        self.label(name, labels, truth)
        return path

    def label(self, name: str, labels: str, truth: str = "") -> None:
        """List a photo that is there, or not, under labels."""
        self._rows[name] = (f"{name}.png", labels, truth)

    def remove(self, name: str) -> None:
        """Take a photo off the list; its file stays."""
        del self._rows[name]

    def config(self, **sections: Any) -> RunConfig:
        """Write the list; a configuration of it with some values changed, per section."""
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
