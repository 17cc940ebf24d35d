"""The base classes of the stages of the pipeline."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from clipes.tasks.inputs.photos import Photo
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
        name: name of the stage; also the name of the stage's folder in the store, and its value for `--until`.
        version: version of the stage's algorithm. Increment it when the results of the stage change.
        row: dataclass of the rows, from which the schema of the artifacts is derived.
        kind: kind of the rows, such as photos or texts.
        workers: kind of worker that makes the shards.
        upstream: stages whose artifacts this stage reads.
        needs_truth: if True, only photos with a true mask have a row.
        needs_labels: if True, only photos with a label have a row.
        sampled: if True, only the photos in `RunInputs.sample` have a row.
        pooled: if True, the main process of a run reads the artifacts of all shards together. Each artifact must then
            be read completely before it counts as cached. In this way, the task run of a shard finds any damage to the
            shard's artifact and rebuilds it, before the main process reads it.
        ranks_templates: if True, the stage is part of the ranking of templates. Only `clipes prompts`, and runs with
            `prompts.template: auto`, have such stages.
        enabled_by: setting that adds the stage to a run, as error messages name it; required if the stage overrides
            `enabled`.
        stored_as: stage under whose name and key the artifacts of this stage are stored; None for its own name and key.
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
            raise TypeError(f"{cls.__name__} overrides `enabled`: also set `enabled_by`, which names the setting")

    @abstractmethod
    def reads(self, inputs: RunInputs) -> Mapping[str, Any] | None:
        """Return the settings that the rows depend on; None while one of these settings is not known yet."""

    @abstractmethod
    def rows(self, job: "ShardJob") -> Iterator[Any]:
        """Compute and yield the rows of a shard; called in a worker process."""

    def enabled(self, config: RunConfig) -> bool:
        """Return whether a config enables this stage, regardless of its upstream stages."""
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
        """Return which shards of `upstream` a shard of this stage reads, by their numbers."""
        return upstream.kind.shards_read_by(self, inputs, shard)

    def discard_attempts(self, job: "ShardJob") -> None:  # noqa: B027 -- most stages leave no such files
        """Remove the files that earlier attempts at a shard left, so that the next attempt starts from scratch."""

    @property
    def title(self) -> str:
        """The title of the stage in tables and pages: its name, and the unit of its rows if the unit is not obvious."""
        return f"{self.name} ({self.kind.unit})" if self.kind.unit else self.name

    @property
    def schema(self) -> "pa.Schema":
        """The Arrow schema of the artifacts."""
        return schema_of(self.row)

    @property
    def photo_upstream(self) -> tuple["Stage", ...]:
        """The upstream stages that have one row per photo."""
        return tuple(stage for stage in self.upstream if stage.kind.per_photo)

    def has_row(self, photo: Photo, inputs: RunInputs) -> bool:
        """Return whether a photo has a row in this stage."""
        return (
            (photo.truth_uri is not None or not self.needs_truth)
            and (bool(photo.class_ids) or not self.needs_labels)
            and (photo.image_id in inputs.sample or not self.sampled)
        )


class JointStage(Stage):
    """A stage with a single shard, which several workers make together from all shards of the upstream stages.

    The first worker runs `rows`, and each of the others runs `assist`. `rows` must count its own steps for the progress
    display; for other stages, the caller of `rows` counts the rows.
    """

    def shards_read(self, upstream: Stage, inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return the numbers of all shards of `upstream`."""
        return tuple(upstream.kind.shards(upstream, inputs))

    @abstractmethod
    def processes(self, job: "ShardJob", devices: Sequence[str]) -> int:
        """Return how many workers make the shard.

        Args:
            job: job of the shard.
            devices: device of each available worker, such as cuda:0.
        """

    @abstractmethod
    def assist(self, job: "ShardJob", rank: int) -> None:
        """Do this worker's share of the shard; called in every worker but the first.

        Args:
            job: job of the shard.
            rank: number of this worker, from 1.
        """
