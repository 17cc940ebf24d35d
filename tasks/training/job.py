"""What the processes of a training are told, and what they tell."""

from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey, checkpoints_uri
from clipes.tasks.training.recipes import Recipe
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary

STAGE = "segmenter"


@dataclass(frozen=True)
class TrainingJob:
    """All that a process needs to train; picklable.

    Attributes:
        key: of the artifact it makes.
        store: where that goes.
        config: of the run.
        vocabulary: its classes.
        recipe: the training.
        photos: to train on.
        mask_uris: of the artifacts with their pseudo masks.
        validation: photos with truth that are scored on the way.
        processes: how many train together.
        meeting: file through which they find each other; unused by a single one.
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
        """Of the artifact."""
        return self.store.artifact_uri(self.key)

    @property
    def checkpoints(self) -> str:
        """URI of the folder of checkpoints."""
        return checkpoints_uri(self.uri)

    @property
    def checkpoint_every(self) -> int:
        """Iterations from one checkpoint to the next; none falls between gradients that are still to be added up."""
        every = self.config.train.checkpoint_every or max(1, self.recipe.iterations // 20)
        return -(-every // self.recipe.accumulated) * self.recipe.accumulated

    @property
    def validate_every(self) -> int:
        """Steps from one validation to the next; 0 for none."""
        if not self.validation:
            return 0
        every = self.config.train.validate_every
        return max(1, self.recipe.iterations // 10) if every is None else every


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        curve: its points as plain values, see `clipes.tasks.stages.segmenter.SegmenterRow`.
        facts: what metrics.json says of it.
        weights: size and SHA-256 of the network beside the artifact.
    """

    curve: list[dict[str, Any]]
    facts: dict[str, Any]
    weights: str
