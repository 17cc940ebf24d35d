"""The base class of the stages of the pipeline, and their keys."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.row_kinds import RowKind
from clipes.tasks.plan.row_schema import schema_of
from clipes.tasks.plan.run_inputs import RunInputs
from clipes_core.config.run import RunConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from clipes.tasks.plan.jobs import ShardJob


class Stage(ABC):
    """A stage of the pipeline. Each stage is a subclass with a single instance, in a module of tasks/stages/.

    Attributes:
        name: name of the stage, of its folder in the store, and the value for `--until`.
        version: version of the stage's algorithm; raised when its results change.
        row: dataclass of a row, from which the artifact's schema is derived.
        kind: kind of the rows, such as photos or texts.
        workers: kind of worker that makes the shards.
        upstream: stages whose artifacts this stage reads.
        needs_truth: whether only photos with a true mask have a row.
        needs_labels: whether only photos with a class have a row.
        sampled: whether only the photos of the run's sample have a row.
        pooled: whether the run itself reads the artifacts of all shards together. Each artifact is then read completely
            before it counts as cached, so that a damaged one is found and rebuilt in its own task run.
        ranks_templates: whether the stage is part of a ranking of templates, and so of a run whose template is `auto`.
        enabled_by: setting that adds the stage to a run, for messages; required if the stage overrides `enabled`.
        stored_as: stage whose artifacts this stage makes; None if it makes its own.
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

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.enabled is not Stage.enabled and not cls.enabled_by:
            raise TypeError(f"{cls.__name__} overrides `enabled`: name the setting that adds the stage in `enabled_by`")

    @abstractmethod
    def reads(self, inputs: RunInputs) -> Mapping[str, Any] | None:
        """Return the settings that the result depends on; None while some of them are not known yet."""

    @abstractmethod
    def rows(self, job: "ShardJob") -> Iterator[Any]:
        """Make the rows of a shard; called in a worker process."""

    def enabled(self, config: RunConfig) -> bool:
        """Return whether a run with this config has the stage, provided that it has the upstream stages."""
        return True

    def left_out_by(self, config: RunConfig) -> "Stage | None":
        """Return the stage that this config disables and without which this stage cannot run; None if there is none.

        The disabled stage is this stage itself, or one of its direct or indirect upstream stages.
        """
        return next(
            (found for read in self.upstream if (found := read.left_out_by(config)) is not None),
            None if self.enabled(config) else self,
        )

    def shards_read(self, upstream: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return the shards of an upstream stage that a shard of this stage reads."""
        return upstream.kind.read_by(self, inputs, shard)

    def forget(self, job: "ShardJob") -> None:  # noqa: B027 -- most stages leave nothing behind
        """Remove the files that earlier attempts at a shard left, so that the work starts from the beginning."""

    @property
    def title(self) -> str:
        """The title of the stage in tables and pages: its name, and the unit of its rows if that is not obvious."""
        return f"{self.name} ({self.kind.unit})" if self.kind.unit else self.name

    @property
    def schema(self) -> "pa.Schema":
        """The columns of the artifact."""
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
    """A stage whose workers make one shard together, from all shards of its upstream.

    The first worker runs `rows`, the others run `assist`. The stage itself counts the steps for the progress display.
    """

    def shards_read(self, upstream: Stage, inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return all shards of an upstream stage."""
        return tuple(upstream.kind.shards(upstream, inputs))

    @abstractmethod
    def processes(self, job: "ShardJob", devices: Sequence[str]) -> int:
        """Return how many workers make the shard.

        Args:
            job: job of the shard.
            devices: device of each available worker.
        """

    @abstractmethod
    def assist(self, job: "ShardJob", rank: int) -> None:
        """Do this worker's share of the shard; called in every worker but the first.

        Args:
            job: job of the shard.
            rank: number of this worker, from 1.
        """


def stage_keys(stages: Iterable[Stage], inputs: RunInputs) -> dict[str, str]:
    """Return the key of each stage: the digest of its name, its version, its settings and its upstream keys.

    Args:
        stages: stages in the order of the pipeline.
        inputs: inputs of the run.

    Returns:
        Stage name -> key. A stage is left out while a setting of the stage or of its upstream is not known. Such a
        setting can be the templates to rank, the sampled templates, or the template that `auto` stands for.
    """
    keys: dict[str, str] = {}
    for stage in stages:
        reads = stage.reads(inputs)
        if reads is not None and all(read.name in keys for read in stage.upstream):
            keys[stage.name] = _key(stage, reads, [keys[read.name] for read in stage.upstream])
    return keys


def key_without_upstream(stage: Stage, inputs: RunInputs) -> str:
    """Return the key of a stage that has no upstream and whose settings are known."""
    assert not stage.upstream
    reads = stage.reads(inputs)
    assert reads is not None
    return _key(stage, reads, [])


def _key(stage: Stage, reads: Mapping[str, Any], upstream: list[str]) -> str:
    return digest([stage.name, stage.version, dict(reads), upstream])
