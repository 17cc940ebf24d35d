"""The job that a worker receives to make a shard, and the record of the shard's outcome."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.plan.run_inputs import RunInputs, Training
from clipes.tasks.plan.stage import Stage
from clipes_core.config.run import RunConfig
from clipes_core.errors import TransientError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:  # these modules import pyarrow, which commands that only list the stages do not need
    from clipes.tasks.plan.shard_plan import ShardPlan
    from clipes.tasks.storage.artifact_store import ArtifactStore


@dataclass(frozen=True)
class ShardJob:
    """Everything that a worker needs to make a shard. A job can be pickled.

    Attributes:
        stage: stage of the shard.
        plan: plan of the shard, which says which rows to copy and which to compute.
        store: store that holds the artifacts.
        config: configuration of the run. If the shard belongs to a candidate template, `prompts.template` in this
            configuration is the candidate.
        vocabulary: classes and background words.
        model_digest: digest of CLIP's weights when the run was planned.
        precision: numeric precision of CLIP's image network.
        training: training recipe of the segmenter; None if the run trains no segmenter.
        validation: photos that the segmenter is scored on while it is trained.
        processes: number of workers that make the shard together.
        rendezvous_url: URL at which these workers find each other (`init_method` of torch.distributed); empty if there
            is only one worker.
        footer: the stage's own entries in the footer of the artifact. Other entries hold the artifact's key.
    """

    stage: Stage
    plan: "ShardPlan"
    store: "ArtifactStore"
    config: RunConfig
    vocabulary: Vocabulary
    model_digest: str
    precision: str
    training: Training | None = None
    validation: tuple[Photo, ...] = ()
    processes: int = 1
    rendezvous_url: str = ""
    footer: dict[str, str] = field(default_factory=dict)

    @property
    def photos(self) -> tuple[Photo, ...]:
        """The photos whose rows must be computed."""
        return self.plan.to_compute

    def for_processes(self, processes: int, rendezvous_url: str) -> "ShardJob":
        """Return a copy of this job for several workers that make the shard together.

        Args:
            processes: number of workers.
            rendezvous_url: URL at which the workers find each other (`init_method` of torch.distributed).
        """
        return replace(self, processes=processes, rendezvous_url=rendezvous_url)

    def upstream_uris(self, stage: Stage) -> tuple[str, ...]:
        """Return the URIs of the artifacts that the shard reads from an upstream stage."""
        return self.plan.upstream[stage.name]

    def upstream_rows(self, stage: Stage, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of an upstream stage for the photos to compute, in the order of the upstream artifact."""
        wanted = {photo.image_id for photo in self.photos}
        (uri,) = self.upstream_uris(stage)
        return (row for row in self.store.read_rows(uri, columns) if row["image_id"] in wanted)


def shard_job(stage: Stage, plan: "ShardPlan", store: "ArtifactStore", inputs: RunInputs, shard: int) -> ShardJob:
    """Build the job that carries out the plan of a shard.

    The job of a training leaves out the photos, which each of its processes reads from the run's manifest.
    """
    if stage.kind.of_training:
        plan = replace(plan, photos=(), input_digests={})
    own = stage.kind.shard_inputs(inputs, shard)
    validation = own.validation if stage.kind.of_training else ()
    networks = (own.model_digest, own.precision, own.training)
    return ShardJob(stage, plan, store, own.config, own.vocabulary, *networks, validation)


@dataclass(frozen=True)
class ShardCost:
    """What it cost to make an artifact. Its footer states it, so that runs that reuse the artifact know it, too.

    Attributes:
        rows: number of rows that the worker computed; 0 if it also copied rows, so that the times say nothing about a
            computed row.
        seconds: time that the worker spent on the shard [s].
        cpu_seconds: processor time that the worker process spent on the shard [s].
        peak_memory_mib: peak memory of the worker process since it started [MiB].
        peak_gpu_memory_mib: peak memory of its tensors on the GPU during the shard [MiB]; None without a GPU.
        warm: if True, the worker process had made another shard of the stage before, so it did not have to load a
            network or compile code for this one.
    """

    rows: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mib: int = 0
    peak_gpu_memory_mib: int | None = None
    warm: bool = False

    def text(self) -> str:
        """Return the cost as text for a footer."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | None) -> "ShardCost | None":
        """Return the cost that `text` has returned; None if the footer, of an earlier version, states none."""
        return None if text is None else cls(**json.loads(text))


@dataclass(frozen=True)
class ShardRecord:
    """The outcome of a shard that has an artifact. The record is small enough for Prefect's database.

    Attributes:
        stage: name of the stage.
        shard: number of the shard.
        uri: URI of the artifact.
        images: number of rows of the shard, as `RowKind.row_count` returns it.
        cached: if True, the shard was cached, and no worker had to make it.
        copied: number of rows copied from earlier artifacts, and from the parts of killed attempts.
        computed: number of rows that the worker computed; 0 if `cached`.
        seconds: time that the worker spent on the shard [s]; 0 if `cached`.
        rejects: photos that failed in this stage; photos that already failed in an upstream stage are left out.
        worker: worker process that made the shard, as device:pid or node/device:pid; empty if `cached`.
        cost: what it cost to make the artifact, in this run or, if it is cached, in an earlier one; None if an earlier
            version of clipes made it.
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
    cost: ShardCost | None = None

    def check(self) -> None:
        """Check that no photo failed for a transient cause.

        Raises:
            TransientError: at least one photo failed for a transient cause, so the shard must be retried. The message
                states the number of these photos, and why the first of them failed.
        """
        transient = [reject for reject in self.rejects if reject.kind.transient]
        if transient:
            first = transient[0].reason
            raise TransientError(f"{len(transient)} photos failed for a transient cause; first reason: {first}")
