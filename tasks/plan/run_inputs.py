"""Everything that decides the content of a run's artifacts: config, classes, networks and photos."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.sharding import FEWEST_SHARDS, sample_of
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary

# Earlier versions stored other CAMs with bf16: they computed each product of the MLPs as a single product.
PRECISION_KEYS = {"bf16": "bf16 in three products"}

Shards = Mapping[int, tuple[Photo, ...]]  # shard -> its photos; shards without photos are left out


class Training(Protocol):
    """The part of a training recipe that is needed to plan a run; see `clipes.tasks.training.recipes.Recipe`."""

    @property
    def digest(self) -> str:
        """Digest of all settings and files that the training reads."""

    @property
    def iterations(self) -> int:
        """Number of training steps."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Names of the user's Python modules that define parts of the network."""

    @property
    def code_digests(self) -> tuple[str, ...]:
        """Digests of the code of these modules when the run was planned."""


@dataclass(frozen=True)
class Ranking(ABC):
    """What a run ranks. Each kind of ranking is a subclass, in the module of the stage that encodes its candidates.

    Attributes:
        candidates: texts to rank, each once.
        ranks: what the candidates are, in the plural, such as templates.
        entry: entry of run.json that lists the candidates.
        files: names of the files with the result in the run's folder, as a phrase.
    """

    candidates: tuple[str, ...]
    ranks: ClassVar[str]
    entry: ClassVar[str]
    files: ClassVar[str]

    @abstractmethod
    def inputs_of(self, inputs: "RunInputs", candidate: str) -> "RunInputs":
        """Return the inputs with which the stage `texts` encodes a candidate.

        Args:
            inputs: inputs of the run.
            candidate: one of the candidates.
        """


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a run; stage keys, shards and jobs are derived from them.

    Attributes:
        config: configuration of the run.
        vocabulary: classes and background words.
        model_digest: digest of CLIP's weights.
        precision: numeric precision of CLIP's image network, such as fp32; never auto.
        ranking: what the run ranks; None if it ranks nothing.
        sampled: those of the candidates whose CAMs are scored. Empty if the run scores no CAMs of candidates, or has
            not chosen these candidates yet.
        training: training recipe of the segmenter; None if the run trains no segmenter.
        shards: photos of the data set, by shard.
        evaluation: photos that the segmenter is scored on, by shard.
        sample: ids of the photos whose CAMs are scored for each of the `sampled` templates.
        shard_count: number of shards into which the photos are divided, including shards without photos.
    """

    config: RunConfig
    vocabulary: Vocabulary
    model_digest: str
    precision: str
    ranking: Ranking | None = None
    sampled: tuple[str, ...] = ()
    training: Training | None = None
    shards: Shards = field(default_factory=dict)
    evaluation: Shards = field(default_factory=dict)
    sample: frozenset[str] = frozenset()
    shard_count: int = FEWEST_SHARDS

    @property
    def candidates(self) -> tuple[str, ...]:
        """The candidates of the ranking; empty if the run ranks nothing."""
        return self.ranking.candidates if self.ranking is not None else ()

    @property
    def image_network(self) -> list[str]:
        """The values that decide the output of CLIP's image network. Stage keys depend on these values."""
        precision = PRECISION_KEYS.get(self.precision, self.precision)
        return [self.config.clip.model, self.model_digest, self.config.clip.pooling, precision]

    @property
    def photo_settings(self) -> dict[str, Any]:
        """The settings that decide the pixels of a photo. Stage keys depend on these settings."""
        dataset = self.config.dataset
        # The default is left out, so that the keys of artifacts without this setting stay valid.
        scale = {} if dataset.jpeg_scale == "full" else {"jpeg_scale": dataset.jpeg_scale}
        return dataset.model_dump(include={"exif", "max_side"}) | scale

    @property
    def validation(self) -> tuple[Photo, ...]:
        """The photos that validate a training: up to `train.validate_photos` evaluation photos with a true mask."""
        with_truth = {
            photo.image_id: photo
            for photos in self.evaluation.values()
            for photo in photos
            if photo.truth_uri is not None
        }
        chosen = sample_of(with_truth, self.config.train.validate_photos)
        return tuple(with_truth[image_id] for image_id in sorted(chosen))

    def with_prompts(self, **values: Any) -> "RunInputs":
        """Return a copy of these inputs in which values of `config.prompts` are replaced."""
        prompts = self.config.prompts.model_copy(update=values)
        return replace(self, config=self.config.model_copy(update={"prompts": prompts}))

    def of_candidate(self, number: int) -> "RunInputs":
        """Return the inputs with which the stage `texts` encodes a candidate of the ranking.

        Args:
            number: place of the candidate in `candidates`.
        """
        assert self.ranking is not None
        return self.ranking.inputs_of(self, self.candidates[number])

    def with_sampled(self, templates: tuple[str, ...]) -> "RunInputs":
        """Return a copy of these inputs in which `sampled` is replaced."""
        return replace(self, sampled=templates)

    def with_sample(self, image_ids: frozenset[str]) -> "RunInputs":
        """Return a copy of these inputs in which `sample` is replaced."""
        return replace(self, sample=image_ids)
