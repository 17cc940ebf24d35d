"""Runs without photos and networks: their inputs, artifacts, and a stage whose rows can be computed by hand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot, act_as_worker
from clipes.tasks.plan.caching import REUSE_ALL
from clipes.tasks.plan.jobs import ShardJob, ShardRecord
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.config.run import parse_config
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.vocabulary import Vocabulary

VOCABULARY = Vocabulary.model_validate({"classes": [{"name": "cat"}, {"name": "dog"}], "background_words": ["sky"]})


def photo(image_id: str, class_ids: tuple[int, ...] = (1,), truth: bool = True) -> Photo:
    """Return a photo that no test opens."""
    with_truth = (f"/truth/{image_id}.png", "9-1") if truth else (None, None)
    return Photo(image_id, f"/photos/{image_id}.jpg", 100, "100-1", class_ids, *with_truth)


def run_inputs(*shards: tuple[Photo, ...], settings: dict[str, Any] | None = None, **values: Any) -> RunInputs:
    """Return the inputs of a run with these shards.

    Args:
        shards: photos of each shard.
        settings: sections of the config.
        values: fields of `RunInputs` that differ.
    """
    config = parse_config({"name": "plain", "dataset": {"root": "/data"}, **(settings or {})})
    inputs = RunInputs(config, VOCABULARY, "digest of weights", "fp32", shards=dict(enumerate(shards)))
    count = config.execution.shards
    return replace(inputs, **{"shard_count": inputs.shard_count if count == "auto" else count, **values})


@dataclass(frozen=True, kw_only=True)
class LengthRow(PhotoRow):
    """The number of letters in a photo's id."""

    length: int | None = column("int32", None)


class Lengths(Stage):
    """Counts the letters of each photo's id, and fails for ids that start with `gone`, `busy` or `above`.

    Args:
        settings: values on which the content key depends.
        attributes: attributes of the stage that differ from the defaults.
    """

    name, version = "lengths", 1
    row, kind, workers = LengthRow, PHOTO_ROWS, "cpu"

    def __init__(self, settings: dict[str, Any] | None = None, **attributes: Any) -> None:
        self.settings = {} if settings is None else settings
        for name, value in attributes.items():
            setattr(self, name, value)

    def reads(self, inputs: RunInputs) -> dict[str, Any] | None:
        """Return the settings of this instance."""
        return self.settings

    def rows(self, job: ShardJob) -> Iterator[LengthRow]:
        """Yield a row per photo, except for ids that start with `lost`."""
        kinds = {"gone": ErrorKind.MISSING, "busy": ErrorKind.NETWORK, "above": ErrorKind.UPSTREAM}
        for each in job.photos:
            kind = kinds.get(each.image_id.partition(" ")[0])
            if kind is not None:
                yield LengthRow.failed(each.image_id, PhotoError(kind, f"{each.image_id} is {kind}"))
            elif not each.image_id.startswith("lost"):
                yield LengthRow(image_id=each.image_id, length=len(each.image_id))


@contextmanager
def worker_in_this_process(*stages: str) -> Iterator[Counters]:
    """Let this process act as a CPU worker during the block, and yield its counters for the given stages."""
    counters = Counters(stages)
    with act_as_worker(WorkerSlot("cpu", 1), counters.of_slot()):
        yield counters


def plain_run(store: str, inputs: RunInputs, stages: tuple[str, ...], rejects: tuple[Reject, ...] = ()) -> PreparedRun:
    """Return a prepared run of some stages, up to the last of them."""
    return PreparedRun(inputs, ListedStore(store), stages, rejects, stages[-1], REUSE_ALL)


def write_artifact(store: str, stage: Stage, rows: Iterable[Any], shard: int = 0, **metadata: str) -> ShardRecord:
    """Write an artifact with the given rows, and return the record of its shard."""
    made = [asdict(row) for row in rows]
    key = ArtifactKey(stage.name, "5" * 16, shard, "c" * 16)
    with ArtifactStore(store).writer(key, stage.schema, metadata) as artifact:
        for row in made:
            artifact.write(row)
    uri = ArtifactStore(store).artifact_uri(key)
    return ShardRecord(stage.name, shard, uri, len(made), cached=False, computed=len(made))


def ledger_of(*records: ShardRecord, photos: int = 10, evaluated: int = 0) -> Ledger:
    """Return the ledger of a run whose shards are finished."""
    ledger = Ledger(photos, 1, evaluated)
    for record in records:
        ledger.planned(record.stage, record.shard)
        ledger.started(record.stage, record.shard, 1)
        ledger.finished(record, 1)
    return ledger
