"""The job that each process of a training run receives, and the result of the training run."""

from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey, checkpoints_uri
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.training.recipes import Recipe
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainingJob:
    """Everything that a training process needs. Instances can be pickled.

    The photos to train on are those of the run's manifest. A process reads it itself, because the photos as Python
    objects would take more than a kilobyte each.

    Attributes:
        key: key of the segmenter's artifact, which the training produces.
        store: store that the artifact is written to.
        config: config of the run.
        vocabulary: classes of the run.
        recipe: recipe of the training.
        mask_uris: URIs of the artifacts that hold the pseudo masks.
        validation: photos with true masks, on which the network is scored during the training.
        processes: number of processes that train together.
        rendezvous_url: URL at which the processes find each other (`init_method` of torch.distributed). A single
            process does not need it.
    """

    key: ArtifactKey
    store: ArtifactStore
    config: RunConfig
    vocabulary: Vocabulary
    recipe: Recipe
    mask_uris: tuple[str, ...]
    validation: tuple[Photo, ...]
    processes: int
    rendezvous_url: str

    @property
    def uri(self) -> str:
        """URI of the segmenter's artifact."""
        return self.store.artifact_uri(self.key)

    @property
    def files(self) -> RunFiles:
        """The files of the run, one of which is the manifest."""
        return RunFiles(self.store.uri, self.config.name)

    @property
    def checkpoints(self) -> str:
        """URI of the folder of checkpoints."""
        return checkpoints_uri(self.uri)

    @property
    def training(self) -> str:
        """Text that identifies the training: the keys of its recipe and of its masks."""
        return f"{self.key.stage_key} {self.key.content_key}"

    @property
    def checkpoint_every(self) -> int:
        """Number of iterations between two checkpoints.

        The number is a multiple of `recipe.accumulated`, because a checkpoint holds no accumulated gradients.
        """
        every = self.config.train.checkpoint_interval(self.recipe.iterations)
        return -(-every // self.recipe.accumulated) * self.recipe.accumulated

    @property
    def validate_every(self) -> int:
        """Number of iterations between two validations; 0 if there are no validations."""
        return self.config.train.validation_interval(self.recipe.iterations) if self.validation else 0


@dataclass(frozen=True)
class Trained:
    """The result of a training run.

    Attributes:
        curve: points of the training curve as dicts, with the keys of `clipes.tasks.training.hooks.curve.Point`.
        facts: statistics of the training by name, for the artifact's footer and metrics.json.
        weights: size and SHA-256 of the weights file next to the artifact, as one text.
    """

    curve: list[dict[str, Any]]
    facts: dict[str, Any]
    weights: str
