"""Everything that decides what a run's artifacts hold: config, classes, networks and photos."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from clipes.tasks.inputs.photos import Photo
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary

Shards = Mapping[int, tuple[Photo, ...]]  # shard -> its photos; shards without photos are left out


class Training(Protocol):
    """What a plan has to know of a training; see `clipes.tasks.training.recipes.Recipe`."""

    @property
    def digest(self) -> str:
        """Of all settings and files that the training reads."""

    @property
    def iterations(self) -> int:
        """How many steps it takes."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Modules of the user's own that its network is made of."""


@dataclass(frozen=True)
class RunInputs:
    """What stage keys, shards and jobs are made of.

    Attributes:
        config: of the run.
        vocabulary: its classes.
        model_digest: of CLIP's weights.
        precision: of the image network, with auto resolved.
        candidates: templates to rank; none in a run whose template is given.
        sampled: those of them whose CAMs are scored.
        training: None in a run that trains nothing.
        shards: the photos of the data set.
        evaluation: the photos that the segmenter is scored on.
        sample: ids of the photos that the CAMs of `sampled` are scored on.
    """

    config: RunConfig
    vocabulary: Vocabulary
    model_digest: str
    precision: str
    candidates: tuple[str, ...] = ()
    sampled: tuple[str, ...] = ()
    training: Training | None = None
    shards: Shards = field(default_factory=dict)
    evaluation: Shards = field(default_factory=dict)
    sample: frozenset[str] = frozenset()

    @property
    def image_network(self) -> list[str]:
        """What decides the output of CLIP's image network, for stage keys."""
        return [self.config.clip.model, self.model_digest, self.config.clip.pooling, self.precision]

    @property
    def photo_settings(self) -> dict[str, Any]:
        """What decides the pixels of a photo, for stage keys."""
        return self.config.dataset.model_dump(include={"exif", "max_side"})

    def with_template(self, template: str) -> "RunInputs":
        """Return the inputs of a run with another template."""
        prompts = self.config.prompts.model_copy(update={"template": template})
        return replace(self, config=self.config.model_copy(update={"prompts": prompts}))
