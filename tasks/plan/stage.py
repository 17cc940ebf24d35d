"""What a stage of the pipeline is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.row_kinds import RowKind
from clipes.tasks.plan.rows import schema_of
from clipes.tasks.plan.run_inputs import RunInputs
from clipes_core.config.run import RunConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from clipes.tasks.plan.jobs import ShardJob


class Stage(ABC):
    """One stage of the pipeline: a subclass and its one object, in a file of their own under tasks/stages/.

    Attributes:
        name: also the folder in the store, and what `--until` takes.
        version: of its algorithm; raised when numbers move.
        row: dataclass of a row; the artifact's schema follows from it.
        kind: what a row stands for.
        workers: who does the work.
        upstream: the stages whose artifacts it reads.
        needs_truth: only photos with a true mask have a row.
        needs_labels: only photos with a class have a row.
        sampled: only the photos of the run's sample have a row.
        pooled: the run itself reads the artifacts of all shards together. Each is read completely before it counts as
            cached, so that a damaged one is found, and rebuilt, in its own task run.
        ranks_templates: it is part of a ranking of templates, and of a run whose template is `auto`.
        enabled_by: what to set if a run does not have the stage, for messages.
        stored_as: the stage whose artifacts it makes, if not its own.
    """

    name: str
    version: int
    row: type
    kind: RowKind
    workers: Literal["gpu", "cpu"]
    upstream: tuple["Stage", ...] = ()
    needs_truth: bool = False
    needs_labels: bool = False
    sampled: bool = False
    pooled: bool = False
    ranks_templates: bool = False
    enabled_by: str = ""
    stored_as: "Stage | None" = None

    @abstractmethod
    def reads(self, inputs: RunInputs) -> Mapping[str, Any] | None:
        """Return the settings that the result depends on, or None as long as they are not known."""

    @abstractmethod
    def rows(self, job: "ShardJob") -> Iterator[Any]:
        """Make the rows of a shard, in a worker."""

    def enabled(self, config: RunConfig) -> bool:
        """Return whether a run with this config has the stage."""
        return True

    @property
    def title(self) -> str:
        """What tables and pages call the stage: its name, and the unit of its rows if that is not obvious."""
        return f"{self.name} ({self.kind.unit})" if self.kind.unit else self.name

    @property
    def schema(self) -> "pa.Schema":
        """Columns of the artifact."""
        return schema_of(self.row)

    @property
    def photo_upstream(self) -> tuple["Stage", ...]:
        """The upstream stages that have a row per photo."""
        return tuple(stage for stage in self.upstream if stage.kind.per_photo)

    def has_row(self, photo: Photo, inputs: RunInputs) -> bool:
        """Return whether a photo has a row in this stage."""
        return (
            (photo.truth_uri is not None or not self.needs_truth)
            and (bool(photo.class_ids) or not self.needs_labels)
            and (photo.image_id in inputs.sample or not self.sampled)
        )


class JointStage(Stage):
    """A stage whose workers make one shard together. The first one runs `rows`, the others `assist`."""

    @abstractmethod
    def processes(self, job: "ShardJob", devices: Sequence[str]) -> int:
        """Return how many workers make the shard, given the devices of those that there are."""

    @abstractmethod
    def assist(self, job: "ShardJob", rank: int) -> None:
        """Do the part of one of the other workers.

        Args:
            job: of the shard.
            rank: which worker this is, from 1.
        """

    @abstractmethod
    def forget(self, job: "ShardJob") -> None:
        """Remove what an earlier attempt has left, so that the work starts anew."""


def stage_keys(stages: Iterable[Stage], inputs: RunInputs) -> dict[str, str]:
    """Return the key of each stage: the digest of its name, version, what it reads, and the keys of its upstream.

    Args:
        stages: in the order of the pipeline.
        inputs: of the run.

    Returns:
        Stage name -> key. Stages that read what is not known yet are left out: templates to rank or to sample, or the
        one that `auto` stands for.
    """
    keys: dict[str, str] = {}
    for stage in stages:
        reads = stage.reads(inputs)
        if reads is not None and all(read.name in keys for read in stage.upstream):
            keys[stage.name] = _key(stage, reads, [keys[read.name] for read in stage.upstream])
    return keys


def key_without_upstream(stage: Stage, inputs: RunInputs) -> str:
    """Return the key of a stage that reads no other, whose settings are known."""
    assert not stage.upstream
    reads = stage.reads(inputs)
    assert reads is not None
    return _key(stage, reads, [])


def _key(stage: Stage, reads: Mapping[str, Any], upstream: list[str]) -> str:
    return digest([stage.name, stage.version, dict(reads), upstream])
