"""The kinds of rows: a row stands for a photo, a text or a point of the training curve.

The kind of a stage's rows decides its shards, photos, counts and content keys.
"""

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
    """A kind of rows.

    Attributes:
        unit: name of the rows in tables and in the progress display; empty for photos and texts.
        per_photo: whether each row stands for a photo. Such a row has digests, may be copied, and may be a reject.
        of_evaluation: whether the rows stand for the photos that the segmenter is scored on.
    """

    unit = ""
    per_photo = False
    of_evaluation = False

    @abstractmethod
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        """Return the numbers of a stage's shards in ascending order."""

    def photos(self, stage: "Stage", inputs: RunInputs, shard: int) -> tuple[Photo, ...]:
        """Return the photos that a shard is made from."""
        return ()

    @abstractmethod
    def rows(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        """Return how many rows a shard has, as tables show it (for the training, its iterations)."""

    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        """Return how many rows the progress display expects of all shards together."""
        return sum(self.rows(stage, inputs, shard) for shard in self.shards(stage, inputs))

    def stored_rows(self, rows: int) -> int | None:
        """Return how many rows a complete artifact holds; None if the number is not known in advance.

        Args:
            rows: the number that `RowKind.rows` returns.
        """
        return rows

    def shard_inputs(self, inputs: RunInputs, shard: int) -> RunInputs:
        """Return the inputs that a shard is made from."""
        return inputs

    def artifact_shard(self, shard: int) -> int:
        """Return the number in the name of a shard's artifact."""
        return shard

    def content_key(self, stage_key: str, input_digests: Mapping[str, str]) -> str:
        """Return the digest of the inputs of all rows of a shard."""
        return content_key(input_digests)

    def read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return the shards of this kind that a shard of another stage reads."""
        return (0,)


class PhotoRows(RowKind):
    """One row per photo of the data set."""

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
    """One row per photo that the segmenter is scored on."""

    of_evaluation = True

    @override
    def _all(self, inputs: RunInputs) -> Shards:
        return inputs.evaluation


class TextRows(RowKind):
    """One row per class (or synonym) and one per background word, all in one shard."""

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return [0]

    @override
    def rows(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        from clipes_core.prompts import vocabulary_texts  # imports torch, which tables and status do not need

        return len(vocabulary_texts(inputs.vocabulary, inputs.config.prompts))

    @override
    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        return 0  # no progress is shown, because the texts take a second

    @override
    def content_key(self, stage_key: str, input_digests: Mapping[str, str]) -> str:
        return digest(stage_key)


class CandidateTextRows(TextRows):
    """The rows of `TextRows` for each candidate template, with one shard per template."""

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
        return 0  # as in a run with this template, so that both share the artifact

    @override
    def read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        read = inputs.sampled if reader.sampled else inputs.candidates
        return tuple(inputs.candidates.index(template) for template in read)


class TrainingRows(RowKind):
    """One row per point of the training curve, all in one shard; tables count iterations instead of rows."""

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


PHOTO_ROWS = PhotoRows()
EVALUATION_ROWS = EvaluationRows()
TEXT_ROWS = TextRows()
CANDIDATE_TEXT_ROWS = CandidateTextRows()
TRAINING_ROWS = TrainingRows()
