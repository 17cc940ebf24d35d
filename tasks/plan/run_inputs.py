"""Everything that decides the content of a run's artifacts: config, classes, networks and photos."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from clipes.tasks.inputs.photos import Photo
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary

Shards = Mapping[int, tuple[Photo, ...]]  # shard -> its photos; shards without photos are left out


class Training(Protocol):
    """The properties of a training recipe that planning needs; see `clipes.tasks.training.recipes.Recipe`."""

    @property
    def digest(self) -> str:
        """Digest of all settings and files that the training reads."""

    @property
    def iterations(self) -> int:
        """Number of training steps."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Names of the user's Python modules that define parts of the network."""


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a run; stage keys, shards and jobs are derived from them.

    Attributes:
        config: configuration of the run.
        vocabulary: classes and background words.
        model_digest: digest of CLIP's weights.
        precision: numeric precision of CLIP's image network, such as fp32; never auto.
        candidates: templates to rank; empty if the run ranks no templates.
        sampled: candidates whose CAMs are scored. Empty if no CAMs are scored, or if the candidates are not chosen yet.
        training: training recipe of the segmenter; None if the run trains no segmenter.
        shards: photos of the data set, by shard.
        evaluation: photos that the segmenter is scored on, by shard.
        sample: ids of the photos on which the CAMs of the `sampled` templates are scored.
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
        """The values that decide the output of CLIP's image network; they are part of stage keys."""
        return [self.config.clip.model, self.model_digest, self.config.clip.pooling, self.precision]

    @property
    def photo_settings(self) -> dict[str, Any]:
        """The settings that decide the pixels of a photo; they are part of stage keys."""
        return self.config.dataset.model_dump(include={"exif", "max_side"})

    def with_template(self, template: str) -> "RunInputs":
        """Return these inputs with a different template."""
        prompts = self.config.prompts.model_copy(update={"template": template})
        return replace(self, config=self.config.model_copy(update={"prompts": prompts}))

    def with_sampled(self, templates: tuple[str, ...]) -> "RunInputs":
        """Return these inputs with different `sampled` templates."""
        return replace(self, sampled=templates)

    def with_sample(self, image_ids: frozenset[str]) -> "RunInputs":
        """Return these inputs with a different `sample` of photos."""
        return replace(self, sample=image_ids)
