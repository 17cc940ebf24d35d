"""Small runs for the tests of the stages: a few photos, a store, and each shard made by a real worker."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from clipes.tasks.execution.make_shard import cached_record, make_shard
from clipes.tasks.execution.shard_runner import StageWork
from clipes.tasks.execution.worker_pool import WorkerPool
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.shard_plan import ShardPlan, output_digests
from clipes.tasks.plan.stages import SHARDED_STAGES, STAGES, TEXT_STAGES, Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.preparation import PreparedRun
from clipes.tasks.stages.texts import make_texts
from clipes.tasks.storage.artifact_store import ArtifactStore
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
        """stage -> images, copied and computed rows."""
        return {stage.name: self._count(stage.name) for stage in SHARDED_STAGES if self.run.includes(stage.name)}

    def _count(self, stage: str) -> tuple[int, int, int]:
        found = [(record.images, record.copied, record.computed) for record in self.of(stage)]
        images, copied, computed = (sum(column) for column in zip(*found, strict=True))
        return images, copied, computed


def make_run(run: PreparedRun, pool: WorkerPool) -> Made:
    """Make or reuse every shard of a run, in the order of the stages."""
    records: Records = {}
    for place in range(len(run.inputs.candidates)):
        key, config = run.texts("candidate_texts", place), run.texts_config("candidate_texts", place)
        pool.run(make_texts, key, run.store, config, run.vocabulary, timeout_s=TIMEOUT_S)
    if run.includes("texts") and not run.texts_cached():
        records["texts", 0] = pool.run(
            make_texts, run.texts(), run.store, run.config, run.vocabulary, timeout_s=TIMEOUT_S
        )
    for stage in SHARDED_STAGES:
        for shard in run.stage_shards(stage) if run.includes(stage.name) else ():
            plan = planned(run, stage, shard, records)
            records[stage.name, shard] = made_shard(run, plan, pool)
    return Made(run, records)


def worked_through(run: PreparedRun, pool: WorkerPool) -> Ledger:
    """Make or reuse every shard of a run as its task runs do; broken artifacts are mended on the way."""
    ledger = Ledger(run.photos, 1)
    for work in works_of(run, ledger, pool):
        work_on(work, run)
    return ledger


def works_of(run: PreparedRun, ledger: Ledger, pool: WorkerPool) -> list[StageWork]:
    """The work of each stage of a run."""
    works: dict[str, StageWork] = {}
    for stage in (STAGES[name] for name in run.stages):
        works[stage.name] = StageWork(run, ledger, stage, pool, {name: works[name] for name in stage.upstream})
    return list(works.values())


def work_on(work: StageWork, run: PreparedRun) -> None:
    """Make or reuse all shards of a stage."""
    for shard in run.shard_numbers(work.stage):
        work.ledger.planned(work.stage.name, shard)
        work.ledger.started(work.stage.name, shard, 1)
        work.ledger.finished(work.make(shard), 1)


def planned(run: PreparedRun, stage: Stage, shard: int, records: Mapping[tuple[str, int], ShardRecord]) -> ShardPlan:
    """The plan of a shard that stands on records."""
    uris = {name: records[name, shard].uri for name in stage.sharded_upstream}
    above = {name: output_digests(run.store, uri) for name, uri in uris.items()}
    texts = {
        name: tuple(run.store.artifact_uri(run.texts(name, own)) for own in run.shards_read(stage, name, shard))
        for name in stage.upstream
        if name in TEXT_STAGES
    }
    return run.plan(stage, shard, {name: (uri,) for name, uri in uris.items()} | texts, above)


def made_shard(run: PreparedRun, plan: ShardPlan, pool: WorkerPool) -> ShardRecord:
    """Reuse or make one shard."""
    if plan.cached:
        return cached_record(plan, run.store)
    return pool.run(make_shard, ShardJob(plan, run.store, run.config, run.vocabulary), timeout_s=TIMEOUT_S)


def rows_of(store: ArtifactStore, uris: Iterable[str]) -> dict[str, dict[str, Any]]:
    """image_id -> row of some artifacts."""
    return {row["image_id"]: row for uri in uris for row in store.read_rows(uri)}


class TinyPhotos:
    """A list data set of crops of one real photo, 64 x 48 px, with weights whose CAMs mean nothing.

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
        given = {name: {**values.get(name, {}), **value} for name, value in sections.items()}
        return parse_config({**values, **given})
