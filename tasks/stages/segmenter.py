"""Stage segmenter: a segmentation network trained on the pseudo masks, by several processes together."""

import json
import logging
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import TRAINING
from clipes.tasks.plan.rows import column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import JointStage
from clipes.tasks.stages.masks import MASKS
from clipes_core.config.run import RunConfig
from clipes_core.errors import BrokenArtifactError

if TYPE_CHECKING:
    from clipes.tasks.storage.artifact_store import ArtifactStore
    from clipes.tasks.training.job import TrainingJob
    from clipes.tasks.training.recipes import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SegmenterRow:
    """A point of the training's curve.

    Attributes:
        iteration: how many steps were done.
        loss: mean over the steps since the row before.
        learning_rate: of the first parameter group.
        kept_fraction: of the labelled pixels, those whose confidence counts.
        miou: on photos of the evaluation; null where it was not measured.
    """

    iteration: int = column("int64")
    loss: float = column("double")
    learning_rate: float = column("double")
    kept_fraction: float = column("double")
    miou: float | None = column("double", None)


class Segmenter(JointStage):
    """Trains a segmentation network on the masks of all shards."""

    name, version = "segmenter", 1
    upstream = (MASKS,)
    row, kind, workers = SegmenterRow, TRAINING, "gpu"
    pooled = True
    enabled_by = "train.enabled=true"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any] | None:
        return None if inputs.training is None else {"training": inputs.training.digest}

    @override
    def enabled(self, config: RunConfig) -> bool:
        return config.train.enabled

    @override
    def rows(self, job: ShardJob) -> Iterator[SegmenterRow]:
        """Train from the newest checkpoint, write the network beside the artifact, and yield the curve.

        Raises:
            ConfigError: the training cannot start with these settings.
            WeightsError: the initial weights are of another network.
            StageError: the loss is not a number, or runs away, or too many photos cannot be used.
            PhotoError: a hundred photos in a row cannot be used.
            ArtifactError: a mask, or the store, cannot be used.
        """
        from clipes.tasks.training.process import train

        trained = train(_training_job(job), rank=0)
        assert trained is not None  # the first process has the result
        job.footer.update(training=json.dumps(trained.facts), weights=trained.weights)
        for point in trained.curve:
            yield SegmenterRow(**point)

    @override
    def processes(self, job: ShardJob, devices: Sequence[str]) -> int:
        """Return how many processes train: one per GPU, or per worker on a CPU, if they can share a batch evenly."""
        batch_size = cast("Recipe", job.training).batch_size
        most = len(devices) if set(devices) == {"cpu"} else len(set(devices))
        processes = max(count for count in range(1, most + 1) if batch_size % count == 0)
        if processes < most:
            logger.info("a batch of %d is shared by %d of %d devices", batch_size, processes, most)
        return processes

    @override
    def assist(self, job: ShardJob, rank: int) -> None:
        """Train as one of the other processes."""
        from clipes.tasks.training.process import train

        train(_training_job(job), rank)

    @override
    def forget(self, job: ShardJob) -> None:
        """Delete the checkpoints of earlier attempts."""
        from clipes.tasks.storage.layout import checkpoints_uri
        from clipes.tasks.storage.listing import list_names

        folder = checkpoints_uri(job.store.artifact_uri(job.plan.key))
        for name in list_names(folder) or ():
            job.store.discard(posixpath.join(folder, name))


SEGMENTER = Segmenter()


def training_facts(store: "ArtifactStore", uri: str) -> dict[str, Any]:
    """Return what an artifact states about its training.

    Raises:
        BrokenArtifactError: it cannot be read, or states nothing.
    """
    stated = store.footer(uri).metadata.get("training")
    if stated is None:
        raise BrokenArtifactError(uri, "says nothing of its training")
    return json.loads(stated)


def _training_job(job: ShardJob) -> "TrainingJob":
    from clipes.tasks.training.job import TrainingJob

    return TrainingJob(
        key=job.plan.key,
        store=job.store,
        config=job.config,
        vocabulary=job.vocabulary,
        recipe=cast("Recipe", job.training),
        photos=job.plan.photos,
        mask_uris=job.upstream_uris(MASKS),
        validation=job.validation,
        processes=job.processes,
        meeting=job.meeting,
    )
