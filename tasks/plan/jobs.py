"""The job that a worker receives to make a shard, and the record that it returns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.plan.run_inputs import RunInputs, Training
from clipes.tasks.plan.sharding import sample_of
from clipes.tasks.plan.stage import JointStage, Stage
from clipes_core.config.run import RunConfig
from clipes_core.errors import TransientError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:  # they import pyarrow, which commands that only list the stages do not need
    from clipes.tasks.plan.shard_plan import ShardPlan
    from clipes.tasks.storage.artifact_store import ArtifactStore


@dataclass(frozen=True)
class ShardJob:
    """Everything that a worker needs to make a shard; picklable.

    Attributes:
        stage: stage of the shard.
        plan: rows that are cached, copied or computed.
        store: store that holds the artifacts.
        config: configuration that the shard is made with.
        vocabulary: classes and background words.
        precision: precision of CLIP's image network.
        training: recipe of the segmenter; None if the run trains none.
        validation: photos that the network is scored on during the training.
        processes: number of workers that make the shard together.
        meeting: URL at which these workers find each other (`init_method` of torch.distributed); empty for one worker.
        footer: entries that the stage adds to the footer of the artifact, in addition to its key.
    """

    stage: Stage
    plan: "ShardPlan"
    store: "ArtifactStore"
    config: RunConfig
    vocabulary: Vocabulary
    precision: str
    training: Training | None = None
    validation: tuple[Photo, ...] = ()
    processes: int = 1
    meeting: str = ""
    footer: dict[str, str] = field(default_factory=dict)

    @property
    def photos(self) -> tuple[Photo, ...]:
        """The photos whose rows must be computed."""
        return self.plan.to_compute

    def together(self, processes: int, meeting: str) -> "ShardJob":
        """Return this job as a job for several workers.

        Args:
            processes: number of workers.
            meeting: URL at which they find each other (`init_method` of torch.distributed).
        """
        return replace(self, processes=processes, meeting=meeting)

    def upstream_uris(self, stage: Stage) -> tuple[str, ...]:
        """Return the URIs of the artifacts of an upstream stage that the shard reads."""
        return self.plan.upstream[stage.name]

    def upstream_rows(self, stage: Stage, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the upstream stage's rows of the photos to compute, in the order of its artifact."""
        wanted = {photo.image_id for photo in self.photos}
        (uri,) = self.upstream_uris(stage)
        return (row for row in self.store.read_rows(uri, columns) if row["image_id"] in wanted)


def shard_job(stage: Stage, plan: "ShardPlan", store: "ArtifactStore", inputs: RunInputs, shard: int) -> ShardJob:
    """Return the job that carries out the plan of a shard."""
    own = stage.kind.shard_inputs(inputs, shard)
    validation = _validation(own) if isinstance(stage, JointStage) else ()
    return ShardJob(stage, plan, store, own.config, own.vocabulary, own.precision, own.training, validation)


def _validation(inputs: RunInputs) -> tuple[Photo, ...]:
    """Return `train.validate_photos` photos of the evaluation that have a true mask, the same ones in every attempt."""
    with_truth = {
        photo.image_id: photo
        for photos in inputs.evaluation.values()
        for photo in photos
        if photo.truth_uri is not None
    }
    chosen = sample_of(with_truth, inputs.config.train.validate_photos)
    return tuple(with_truth[image_id] for image_id in sorted(chosen))


@dataclass(frozen=True)
class ShardRecord:
    """The outcome of a shard that has an artifact; small enough for Prefect's database.

    Attributes:
        stage: name of the stage.
        shard: number of the shard.
        uri: URI of the artifact.
        images: number of rows, whether cached, copied or computed.
        cached: whether the artifact existed already.
        copied: number of rows copied from earlier artifacts.
        computed: number of rows computed now; 0 if `cached`.
        seconds: duration of the worker's work [s].
        rejects: photos of the shard without a result, except those that an upstream stage reports.
        worker: process that made the shard, as device:pid; empty if `cached`.
        peak_memory_mib: peak memory of the worker process so far [MiB]; 0 if `cached`.
    """

    stage: str
    shard: int
    uri: str
    images: int
    cached: bool
    copied: int = 0
    computed: int = 0
    seconds: float = 0.0
    rejects: tuple[Reject, ...] = ()
    worker: str = ""
    peak_memory_mib: int = 0

    def check(self) -> None:
        """Raise an error if photos failed for a transient cause, because the shard must then be made again.

        Raises:
            TransientError: at least one photo failed for a transient cause. The message has their number and the first
                reason.
        """
        transient = [reject for reject in self.rejects if reject.kind.transient]
        if transient:
            first = transient[0].reason
            raise TransientError(f"{len(transient)} photos failed for a transient cause; the first: {first}")
