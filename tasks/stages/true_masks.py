"""The stages `true_masks` and `evaluation_true_masks`: draw true masks from the outlines in COCO's annotations."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import EVALUATION_ROWS, PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs, Shards
from clipes.tasks.plan.shard_plan import key_without_run
from clipes.tasks.plan.stage import Stage
from clipes.tasks.storage.layout import artifact_uri, row_uri
from clipes_core.config.run import RunConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError, TransientError


@dataclass(frozen=True, kw_only=True)
class TrueMasksRow(PhotoRow):
    """The true mask of a photo.

    Attributes:
        mask_png: grey PNG of data set ids, where 255 stands for crowds.
    """

    mask_png: bytes = column("binary", b"")


class TrueMasks(Stage):
    """Draws the true masks of the photos of the data set. Photos whose true mask is a file have no row."""

    name, version = "true_masks", 1
    row, kind, workers = TrueMasksRow, PHOTO_ROWS, "cpu"
    needs_truth = True
    enabled_by = "dataset.format=coco"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return {}

    @override
    def enabled(self, config: RunConfig) -> bool:
        return config.dataset.format == "coco"

    @override
    def has_row(self, photo: Photo, inputs: RunInputs) -> bool:
        return photo.annotations is not None

    @override
    def rows(self, job: ShardJob) -> Iterator[TrueMasksRow]:
        """Draw the true masks of a shard's photos.

        Raises:
            DatasetError: the annotation file has changed since the run listed it, is missing or cannot be read.
            TransientError: the store does not answer, or the memory does not suffice.
        """
        from clipes.tasks.inputs.pngs import grey_png
        from clipes.tasks.inputs.truth import draw_truth, read_annotations

        try:
            annotations = read_annotations(job.photos)
        except PhotoError as error:  # concerns the whole file, so it is no result of any photo
            if error.kind.transient and error.kind is not ErrorKind.CHANGED:  # no retry can undo a change of the file
                raise TransientError(error.reason) from error
            advice = "" if error.kind is ErrorKind.CHANGED else ": restore the file, and run again"
            raise DatasetError(f"the annotation file {error.reason}{advice}") from error
        for photo in job.photos:
            try:
                ids = draw_truth(photo, annotations.pop(photo.image_id))
                yield TrueMasksRow(image_id=photo.image_id, mask_png=grey_png(ids))
            except PhotoError as error:
                yield TrueMasksRow.failed(photo.image_id, error)


class EvaluationTrueMasks(TrueMasks):
    """Draws the true masks of the photos that the segmenter is scored on."""

    name, kind = "evaluation_true_masks", EVALUATION_ROWS


TRUE_MASKS = TrueMasks()
EVALUATION_TRUE_MASKS = EvaluationTrueMasks()


def with_true_masks(inputs: RunInputs, store_uri: str) -> RunInputs:
    """Return inputs whose photos state where the stages of this module put their true masks.

    The keys of their artifacts are known before a run starts, because these stages read no other stage.
    """
    shards = {shard: _located(TRUE_MASKS, inputs, shard, store_uri) for shard in inputs.shards}
    evaluation = {shard: _located(EVALUATION_TRUE_MASKS, inputs, shard, store_uri) for shard in inputs.evaluation}
    return replace(inputs, shards=shards, evaluation=evaluation)


def _located(stage: Stage, inputs: RunInputs, shard: int, store_uri: str) -> tuple[Photo, ...]:
    shards: Shards = inputs.evaluation if stage.kind.of_evaluation else inputs.shards
    if not any(photo.annotations for photo in shards[shard]):
        return shards[shard]
    uri = artifact_uri(store_uri, key_without_run(stage, shard, inputs))
    return tuple(
        replace(photo, truth_uri=row_uri(uri, photo.image_id)) if photo.annotations else photo
        for photo in shards[shard]
    )
