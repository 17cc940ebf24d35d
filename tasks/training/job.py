"""The job that the processes of a training receive, and the result of the training."""

from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey, checkpoints_uri
from clipes.tasks.training.recipes import Recipe
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class TrainingJob:
    """Everything that a process needs to train; picklable.

    Attributes:
        key: of the artifact that the training is for.
        store: where the artifact goes.
        config: of the run.
        vocabulary: the classes of the run.
        recipe: the training itself.
        photos: to train on.
        mask_uris: of the artifacts that hold the pseudo masks.
        validation: photos with truth, scored during the training.
        processes: how many processes train together.
        meeting: file through which the processes find each other; a single process does not use it.
    """

    key: ArtifactKey
    store: ArtifactStore
    config: RunConfig
    vocabulary: Vocabulary
    recipe: Recipe
    photos: tuple[Photo, ...]
    mask_uris: tuple[str, ...]
    validation: tuple[Photo, ...]
    processes: int
    meeting: str

    @property
    def uri(self) -> str:
        """URI of the artifact."""
        return self.store.artifact_uri(self.key)

    @property
    def checkpoints(self) -> str:
        """URI of the folder of checkpoints."""
        return checkpoints_uri(self.uri)

    @property
    def checkpoint_every(self) -> int:
        """Iterations between two checkpoints, rounded up so that none is written while gradients accumulate."""
        every = self.config.train.checkpoint_every or max(1, self.recipe.iterations // 20)
        return -(-every // self.recipe.accumulated) * self.recipe.accumulated

    @property
    def validate_every(self) -> int:
        """Iterations between two validations; 0 if there are none."""
        if not self.validation:
            return 0
        every = self.config.train.validate_every
        return max(1, self.recipe.iterations // 10) if every is None else every


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        curve: the points as plain values, see `clipes.tasks.training.hooks.curve.Point`.
        facts: what metrics.json states about the training.
        weights: size and SHA-256 of the network beside the artifact.
    """

    curve: list[dict[str, Any]]
    facts: dict[str, Any]
    weights: str
