"""What a row of a stage stands for, and what follows from it: shards, photos, counts and content keys."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import content_key, digest
from clipes.tasks.plan.run_inputs import RunInputs, Shards

if TYPE_CHECKING:
    from clipes.tasks.plan.stage import Stage


class RowKind(ABC):
    """What a row stands for.

    Attributes:
        unit: what tables and progress call the rows if they are neither photos nor texts.
        per_photo: each row is a photo's: it has digests, may be copied, and may be a reject.
        of_evaluation: the photos are those of the evaluation.
    """

    unit = ""
    per_photo = False
    of_evaluation = False

    @abstractmethod
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        """Return the numbers of a stage's shards, ascending."""

    def photos(self, stage: "Stage", inputs: RunInputs, shard: int) -> tuple[Photo, ...]:
        """Return the photos that a shard is made from."""
        return ()

    @abstractmethod
    def rows(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        """Return how many rows a shard comes to, as tables count them."""

    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        """Return how many rows progress counts for all shards together."""
        return sum(self.rows(stage, inputs, shard) for shard in self.shards(stage, inputs))

    def stored_rows(self, rows: int) -> int | None:
        """Return how many rows a complete artifact holds; None if their number is not known before."""
        return rows

    def shard_inputs(self, inputs: RunInputs, shard: int) -> RunInputs:
        """Return the inputs that a shard is made from."""
        return inputs

    def artifact_shard(self, shard: int) -> int:
        """Return the number in the name of a shard's artifact."""
        return shard

    def content_key(self, stage_key: str, input_digests: Mapping[str, str]) -> str:
        """Return the digest of what a shard's rows are made from."""
        return content_key(input_digests)

    def read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return the shards of this kind that a shard of another stage reads."""
        return (0,)


class PhotoRows(RowKind):
    """A row per photo of the data set."""

    per_photo = True

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return [shard for shard in self._all(inputs) if self.photos(stage, inputs, shard)]

    @override
    def photos(self, stage: "Stage", inputs: RunInputs, shard: int) -> tuple[Photo, ...]:
        return tuple(photo for photo in self._all(inputs)[shard] if stage.has_row(photo, inputs))

    @override
    def rows(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        return len(self.photos(stage, inputs, shard))

    @override
    def read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        return (shard,)

    def _all(self, inputs: RunInputs) -> Shards:
        return inputs.shards


class EvaluationRows(PhotoRows):
    """A row per photo of the evaluation."""

    of_evaluation = True

    @override
    def _all(self, inputs: RunInputs) -> Shards:
        return inputs.evaluation


class TextRows(RowKind):
    """A row per class (or synonym) and background word, all in one shard."""

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return [0]

    @override
    def rows(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        from clipes_core.prompts import vocabulary_texts  # which brings torch; tables and status do without

        return len(vocabulary_texts(inputs.vocabulary, inputs.config.prompts))

    @override
    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        return 0  # they take a second: no progress is shown

    @override
    def content_key(self, stage_key: str, input_digests: Mapping[str, str]) -> str:
        return digest(stage_key)


class CandidateTextRows(TextRows):
    """The texts of each candidate template, a shard per template."""

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return list(range(len(inputs.candidates)))

    @override
    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        return RowKind.total(self, stage, inputs)

    @override
    def shard_inputs(self, inputs: RunInputs, shard: int) -> RunInputs:
        return inputs.with_template(inputs.candidates[shard])

    @override
    def artifact_shard(self, shard: int) -> int:
        return 0  # the artifact of a run with this template

    @override
    def read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        read = inputs.sampled if reader.sampled else inputs.candidates
        return tuple(inputs.candidates.index(template) for template in read)


class TrainingRows(RowKind):
    """A row per point of a training's curve; counted in iterations, all in one shard."""

    unit = "iterations"

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return [0]

    @override
    def photos(self, stage: "Stage", inputs: RunInputs, shard: int) -> tuple[Photo, ...]:
        return tuple(photo for photos in inputs.shards.values() for photo in photos)

    @override
    def rows(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        return inputs.training.iterations if inputs.training else 0

    @override
    def stored_rows(self, rows: int) -> int | None:
        return None


PHOTOS, EVALUATION, TEXTS, CANDIDATE_TEXTS, TRAINING = (
    PhotoRows(),
    EvaluationRows(),
    TextRows(),
    CandidateTextRows(),
    TrainingRows(),
)
