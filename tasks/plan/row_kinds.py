"""The kinds of rows: a row stands for a photo, a text or a point of the training curve.

All rows of a stage are of one kind. The kind decides how the stage is divided into shards, which photos a shard is made
from, how the rows of a shard are counted, and which inputs the content key of a shard covers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import content_key, digest
from clipes.tasks.plan.run_inputs import RunInputs, Shards
from clipes_core.prompts import vocabulary_texts

if TYPE_CHECKING:
    from clipes.tasks.plan.stage import Stage


class RowKind(ABC):
    """Base class of the kinds of rows.

    Attributes:
        unit: unit of the counts in tables and the progress display, such as iterations; empty if the unit is obvious,
            as for photos and texts.
        per_photo: if True, each row stands for a photo. Such a row has digests, can be copied from an earlier artifact,
            and can record that the photo has no result.
        of_evaluation: if True, each row stands for a photo that the segmenter is scored on.
        of_training: if True, each row stands for a point of the training curve, and the artifact also includes the
            file with the trained weights.
    """

    unit = ""
    per_photo = False
    of_evaluation = False
    of_training = False

    @abstractmethod
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        """Return the numbers of a stage's shards in ascending order."""

    def photos(self, stage: "Stage", inputs: RunInputs, shard: int) -> tuple[Photo, ...]:
        """Return the photos that a shard is made from."""
        return ()

    @abstractmethod
    def row_count(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        """Return the number of rows of a shard. If the stage trains the segmenter, return the number of iterations."""

    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        """Return the number of rows of all shards, or 0 if the progress display does not show the stage."""
        return sum(self.row_count(stage, inputs, shard) for shard in self.shards(stage, inputs))

    def stored_rows(self, rows: int) -> int | None:
        """Return how many rows a complete artifact of a shard holds; None if the number is not known in advance.

        Args:
            rows: number of rows of the shard, as `RowKind.row_count` returns it.
        """
        return rows

    def shard_inputs(self, inputs: RunInputs, shard: int) -> RunInputs:
        """Return the inputs that a shard is made from. By default, these are the inputs of the run."""
        return inputs

    def artifact_shard(self, shard: int) -> int:
        """Return the number that stands for a shard in the name of its artifact; by default, the shard's own number."""
        return shard

    def content_key(self, stage_key: str, input_digests: Mapping[str, str]) -> str:
        """Return the digest of the inputs of all rows of a shard."""
        return content_key(input_digests)

    def shards_read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        """Return the numbers of the shards that one shard of a downstream stage reads from a stage of this kind.

        Args:
            reader: downstream stage.
            inputs: inputs of the run.
            shard: number of the shard of `reader`.
        """
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
    def row_count(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        return len(self.photos(stage, inputs, shard))

    @override
    def shards_read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
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
    """One row per class (or per synonym of a class) and one per background word, all in one shard."""

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return [0]

    @override
    def row_count(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        return len(vocabulary_texts(inputs.vocabulary, inputs.config.prompts))

    @override
    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        return 0  # no progress display, because encoding the texts takes only about a second

    @override
    def content_key(self, stage_key: str, input_digests: Mapping[str, str]) -> str:
        return digest(stage_key)


class CandidateTextRows(TextRows):
    """One shard per candidate of a ranking; its rows are those of `TextRows` with the candidate's inputs."""

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return list(range(len(inputs.candidates)))

    @override
    def total(self, stage: "Stage", inputs: RunInputs) -> int:
        return RowKind.total(self, stage, inputs)

    @override
    def row_count(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        return super().row_count(stage, self.shard_inputs(inputs, shard), shard)

    @override
    def shard_inputs(self, inputs: RunInputs, shard: int) -> RunInputs:
        return inputs.of_candidate(shard)

    @override
    def artifact_shard(self, shard: int) -> int:
        return 0  # the stage `texts` has only shard 0, and must find the same artifact

    @override
    def shards_read_by(self, reader: "Stage", inputs: RunInputs, shard: int) -> tuple[int, ...]:
        if not reader.sampled:
            return tuple(range(len(inputs.candidates)))
        return tuple(inputs.candidates.index(template) for template in inputs.sampled)


class TrainingRows(RowKind):
    """One row per point of the training curve, all in one shard. Displays count iterations instead of rows."""

    unit = "iterations"
    of_training = True

    @override
    def shards(self, stage: "Stage", inputs: RunInputs) -> list[int]:
        return [0]

    @override
    def photos(self, stage: "Stage", inputs: RunInputs, shard: int) -> tuple[Photo, ...]:
        return tuple(photo for photos in inputs.shards.values() for photo in photos)

    @override
    def row_count(self, stage: "Stage", inputs: RunInputs, shard: int) -> int:
        return inputs.training.iterations if inputs.training else 0

    @override
    def stored_rows(self, rows: int) -> int | None:
        return None


PHOTO_ROWS = PhotoRows()
EVALUATION_ROWS = EvaluationRows()
TEXT_ROWS = TextRows()
CANDIDATE_TEXT_ROWS = CandidateTextRows()
TRAINING_ROWS = TrainingRows()
