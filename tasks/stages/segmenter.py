"""The stage `segmenter`: one or more processes train a segmentation network on the pseudo masks."""

import json
import logging
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import TRAINING_ROWS
from clipes.tasks.plan.row_schema import column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import JointStage
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.true_masks import EVALUATION_TRUE_MASKS
from clipes_core.config.run import RunConfig
from clipes_core.errors import BrokenArtifactError

if TYPE_CHECKING:
    from clipes.tasks.training.job import TrainingJob
    from clipes.tasks.training.recipes import Recipe

PACKAGES = ("torch", "onedl-mmcv", "onedl-mmengine", "onedl-mmsegmentation")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SegmenterRow:
    """A point of the training curve.

    Attributes:
        iteration: number of iterations done so far.
        loss: mean loss over the iterations since the previous row.
        learning_rate: learning rate of the first parameter group.
        kept_fraction: number of pixels that count in the loss, divided by the number of labelled pixels; in [0, 1].
            It is the mean over the iterations since the previous row.
        miou: mIoU on the validation photos, in [0, 1]; None if it was not measured at this iteration.
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
    after = (EVALUATION_TRUE_MASKS,)
    row, kind, workers = SegmenterRow, TRAINING_ROWS, "gpu"
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
        """Train the network, write it next to the artifact, and yield the training curve.

        If an earlier attempt left checkpoints, the training starts from the newest one.

        Raises:
            ConfigError: the network cannot be built from the training recipe.
            WeightsError: the initial weights belong to a different network.
            StageError: the loss is not finite or grows too much, too many photos are unusable, or the GPU has too
                little memory.
            PhotoError: a hundred photos in a row are unusable.
            ArtifactError: a mask cannot be read.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        from clipes.tasks.training.process import train

        trained = train(_training_job(job), rank=0)
        assert trained is not None  # because rank 0 returns the result
        job.footer.update(training=json.dumps(trained.facts), weights=trained.weights, packages=training_packages())
        for point in trained.curve:
            yield SegmenterRow(**point)

    @override
    def processes(self, job: ShardJob, devices: Sequence[str]) -> int:
        """Return the number of processes that train together.

        At most one process trains per device. But if all workers run on the CPU, and `execution.gpu_workers` is a
        number, at most one process trains per worker. The number of processes is the largest number within this limit
        that divides the batch size evenly.
        """
        recipe = cast("Recipe", job.training)
        configured = job.config.execution.gpu_workers != "auto"
        most = len(devices) if configured and set(devices) == {"cpu"} else len(set(devices))
        processes = recipe.processes(most)
        if processes < most:
            logger.info(
                "batch size %d: training uses %d of %d devices, because the number must divide the batch size evenly",
                recipe.batch_size,
                processes,
                most,
            )
        return processes

    @override
    def assist(self, job: ShardJob, rank: int) -> None:
        """Train in a process other than the first."""
        from clipes.tasks.training.process import train

        train(_training_job(job), rank)

    @override
    def discard_attempts(self, job: ShardJob) -> None:
        """Delete the checkpoints of earlier attempts, and no other file in their folder."""
        from clipes.tasks.storage.layout import artifact_of, checkpoints_uri
        from clipes.tasks.storage.listing import list_names

        folder = checkpoints_uri(job.store.artifact_uri(job.plan.key))
        for name in list_names(folder) or ():
            uri = posixpath.join(folder, name)
            if artifact_of(uri) is not None:
                job.store.discard(uri)


SEGMENTER = Segmenter()


def training_packages() -> str:
    """Return the versions of the packages that train, as the footer of the segmenter's artifact states them."""
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES)


def read_training_facts(uri: str) -> dict[str, Any]:
    """Read the statistics of a training run from the footer of the segmenter's artifact.

    Raises:
        BrokenArtifactError: the artifact cannot be read, or its footer has no such statistics.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    from clipes.tasks.storage.parquet.footer import read_footer

    try:
        return json.loads(read_footer(uri).metadata["training"])
    except (KeyError, ValueError) as exc:
        raise BrokenArtifactError(uri, "has no statistics of the training in its footer") from exc


def is_validated_on(facts: Mapping[str, Any], validation: str | None) -> bool | None:
    """Return whether the mIoU in the training curve was measured on certain photos. None if this is unknown.

    The key of a segmenter does not cover these photos, so a cached training may have been validated on other photos.

    Args:
        facts: statistics of the training; those of earlier versions do not state the photos.
        validation: `validation_digest` of the photos.
    """
    return facts["validation"] == validation if "validation" in facts else None


def _training_job(job: ShardJob) -> "TrainingJob":
    from clipes.tasks.training.job import TrainingJob

    return TrainingJob(
        key=job.plan.key,
        store=job.store,
        config=job.config,
        vocabulary=job.vocabulary,
        recipe=cast("Recipe", job.training),
        mask_uris=job.upstream_uris(MASKS),
        validation=job.validation,
        processes=job.processes,
        rendezvous_url=job.rendezvous_url,
    )
