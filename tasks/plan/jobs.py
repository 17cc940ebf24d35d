"""What a worker is given to make a shard, and what it returns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.plan.keys import sample_of
from clipes.tasks.plan.run_inputs import RunInputs, Training
from clipes.tasks.plan.stage import JointStage, Stage
from clipes_core.config.run import RunConfig
from clipes_core.errors import TransientError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:  # they bring pyarrow, which a list of the stages does without
    from clipes.tasks.plan.shard_plan import ShardPlan
    from clipes.tasks.storage.artifact_store import ArtifactStore


@dataclass(frozen=True)
class ShardJob:
    """All that a worker needs to make a shard; picklable.

    Attributes:
        stage: which stage.
        plan: what there is to do.
        store: where artifacts are.
        config: that the shard is made with.
        vocabulary: the classes.
        precision: of CLIP's image network.
        training: of the run's segmenter; None without one.
        validation: photos that a training is scored on while it runs.
        processes: how many workers make the shard together.
        meeting: file through which these find each other; empty for one alone.
        footer: what the work adds to the footer of the artifact, beside its key.
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
        """The photos to make rows for."""
        return self.plan.to_compute

    def together(self, processes: int, meeting: str) -> "ShardJob":
        """Return the job for several workers."""
        return replace(self, processes=processes, meeting=meeting)

    def upstream_uris(self, stage: Stage) -> tuple[str, ...]:
        """Return the URIs of the artifacts of an upstream stage that the shard reads."""
        return self.plan.upstream[stage.name]

    def upstream_rows(self, stage: Stage, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream the rows of an upstream stage for the photos to compute, in the artifact's order."""
        wanted = {photo.image_id for photo in self.photos}
        (uri,) = self.upstream_uris(stage)
        return (row for row in self.store.read_rows(uri, columns) if row["image_id"] in wanted)


def shard_job(stage: Stage, plan: "ShardPlan", store: "ArtifactStore", inputs: RunInputs, shard: int) -> ShardJob:
    """Return the job of a shard whose plan is made."""
    own = stage.kind.shard_inputs(inputs, shard)
    validation = _validation(own) if isinstance(stage, JointStage) else ()
    return ShardJob(stage, plan, store, own.config, own.vocabulary, own.precision, own.training, validation)


def _validation(inputs: RunInputs) -> tuple[Photo, ...]:
    """Return photos of the evaluation with truth, the same ones in every attempt."""
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
    """What became of a shard; small enough for Prefect's database.

    Attributes:
        stage: name of the stage.
        shard: number of the shard.
        uri: of the artifact.
        images: rows in all.
        cached: it existed already.
        copied: rows copied from an earlier artifact.
        computed: rows computed now; 0 with `cached`.
        seconds: that the worker took.
        rejects: the shard's rows without result, except those that an upstream stage reports.
        worker: which process made it, as device:pid; empty when cached.
        peak_memory_mib: the most memory that process has had so far.
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
        """Refuse a shard that has to be made again.

        Raises:
            TransientError: how many rows failed for a transient cause, and the first reason.
        """
        transient = [reject for reject in self.rejects if reject.kind.transient]
        if transient:
            first = transient[0].reason
            raise TransientError(f"{len(transient)} photos failed for a cause that may pass; the first: {first}")
