"""The base classes of the stages of the pipeline."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.row_kinds import RowKind
from clipes.tasks.plan.row_schema import schema_of
from clipes.tasks.plan.run_inputs import Ranking, RunInputs
from clipes_core.config.run import RunConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from clipes.tasks.plan.jobs import ShardJob


Workers: TypeAlias = Literal["gpu", "cpu"]  # kinds of workers


class Summary(Protocol):
    """Facts about all rows of an artifact, which its footer states."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""

    def entries(self) -> Mapping[str, str]:
        """Return the entries for the footer."""


class Summaries:
    """Several summaries as one; each of them gets all rows."""

    def __init__(self, *parts: Summary) -> None:
        self._parts = parts

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row to each summary."""
        for part in self._parts:
            part.add(row)

    def entries(self) -> dict[str, str]:
        """Return the entries of all summaries."""
        return {name: value for part in self._parts for name, value in part.entries().items()}


class Stage(ABC):
    """A stage of the pipeline. Each stage is a subclass with a single instance, in a module of tasks/stages/.

    Attributes:
        name: name of the stage. The stage's folder in the store has this name, and `--until` takes this name.
        version: version of the stage's algorithm. Increment it when the results of the stage change.
        row: dataclass of the rows, from which the schema of the artifacts is derived.
        kind: kind of the rows, such as photos or texts.
        workers: kind of worker that makes the shards, unless the stage overrides `workers_for`.
        upstream: stages whose artifacts this stage reads.
        after: further stages whose artifacts this stage reads, at URIs that its photos state, if they are part of the
            run. What they hold is in the fingerprints of the photos, so they are no part of the keys of this stage.
        needs_truth: if True, only photos with a true mask have a row.
        needs_labels: if True, only photos with a label have a row.
        sampled: if True, only the photos in `RunInputs.sample` have a row.
        pooled: if True, the main process of a run reads the artifacts of all shards together. Therefore an artifact of
            such a stage counts as cached only after the run has read it completely. If the artifact is damaged, the
            task run of its shard rebuilds the artifact before the main process reads the artifact.
        ranking: kind of ranking that the stage belongs to, such as the ranking of templates; `Ranking` itself if it
            belongs to every kind. None if the stage belongs to runs that make masks; a ranking may read it, too.
        enabled_by: text for error messages: the setting that adds the stage to a run, such as `train.enabled=true`.
            A stage that overrides `enabled` must set this text.
        stored_as: another stage. If it is set, the artifacts of this stage are stored under the name and the key of the
            other stage.
    """

    name: str
    version: int
    row: type
    kind: RowKind
    workers: Workers
    upstream: tuple["Stage", ...] = ()
    after: tuple["Stage", ...] = ()
    needs_truth: bool = False
    needs_labels: bool = False
    sampled: bool = False
    pooled: bool = False
    ranking: type[Ranking] | None = None
    enabled_by: str = ""
    stored_as: "Stage | None" = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.enabled is not Stage.enabled and not cls.enabled_by:
            raise TypeError(
                f"{cls.__name__} overrides `enabled`: also set `enabled_by` to the setting that enables the stage"
            )

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
        """Return the disabled stage that keeps this stage out of a run with this config; None if no stage does.

        The disabled stage is this stage itself, or one of its direct or indirect upstream stages.
        """
        return next(
            (found for read in self.upstream if (found := read.left_out_by(config)) is not None),
            None if self.enabled(config) else self,
        )

    def shards_read(self, upstream: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return the numbers of those shards of `upstream` that one shard of this stage reads."""
        return upstream.kind.shards_read_by(self, inputs, shard)

    def workers_for(self, config: RunConfig, devices: Mapping[str, Sequence[str]]) -> Workers:
        """Return the kind of worker that makes the shards of a run.

        Args:
            config: configuration of the run.
            devices: kind of worker -> device of each worker, such as cuda:0.
        """
        return self.workers

    def prepare(self, config: RunConfig, workers: Workers) -> None:  # noqa: B027 -- most stages need no preparation
        """Prepare this host for the stage's work. A run calls this once, before a worker makes the first shard.

        Args:
            config: configuration of the run.
            workers: kind of worker that makes the shards.
        """

    def summary(self) -> Summary | None:
        """Return a new summary, to which each row of an artifact is added; None if the footer states nothing more."""
        return None

    def discard_attempts(self, job: "ShardJob") -> None:  # noqa: B027 -- most stages leave no such files
        """Remove all files of earlier attempts to make a shard, so that the next attempt starts from scratch."""

    @property
    def title(self) -> str:
        """The title of the stage in tables: the stage's name, and the unit of the counts if there is one."""
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
    """A stage with a single shard. Several workers make this shard together, from all shards of the upstream stages.

    The first worker runs `rows`, and each of the other workers runs `assist`. In a stage of this class, `rows` itself
    must count the steps for the progress display. In all other stages, the caller of `rows` counts the rows.
    """

    def shards_read(self, upstream: Stage, inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return all shards of `upstream`, by their numbers."""
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
        """Do this worker's part of the work on the shard. Every worker except the first calls this method.

        Args:
            job: job of the shard.
            rank: number of this worker, from 1.
        """
