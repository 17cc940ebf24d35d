"""The stage `segmenter_scores`: predicts the masks of evaluation photos, and compares them with true masks."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from clipes.tasks.inputs.photos import Photo, load_photos
from clipes.tasks.inputs.truth import load_truth
from clipes.tasks.machine.opencv_threads import limit_opencv_threads
from clipes.tasks.machine.worker_state import current_worker
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import EVALUATION_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage, Workers
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, cell_columns, sparse_cells
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.true_masks import EVALUATION_TRUE_MASKS
from clipes_core.config.run import RunConfig
from clipes_core.errors import BrokenArtifactError, PhotoError

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from clipes.tasks.models.segmenter_file import LoadedSegmenter


@dataclass(frozen=True, kw_only=True)
class SegmenterScoresRow(PhotoRow):
    """A photo's predicted mask, and the non-zero cells of the confusion matrix of predicted and true mask.

    The cells are stored in three lists with one item per cell. The lists are empty if the photo has no true mask.

    Attributes:
        mask_png: palette PNG of data set ids.
        class_pixels: (1 + K,) number of pixels of the background, then of each class of the vocabulary.
        truth: true id that the cell stands for.
        prediction: predicted id that the cell stands for.
        pixels: number of pixels with this true id and this predicted id.
    """

    mask_png: bytes = column("binary", b"")
    class_pixels: tuple[int, ...] = column("list<int64>", ())
    truth: tuple[int, ...] = column("list<uint8>", ())
    prediction: tuple[int, ...] = column("list<uint8>", ())
    pixels: tuple[int, ...] = column("list<int64>", ())


class SegmenterScores(Stage):
    """Predicts the masks of evaluation photos. If a photo has a true mask, the predicted mask is scored."""

    name, version = "segmenter_scores", 1
    upstream = (SEGMENTER,)
    after = (EVALUATION_TRUE_MASKS,)
    row, kind, workers = SegmenterScoresRow, EVALUATION_ROWS, "gpu"
    pooled = True
    enabled_by = "train.enabled=true and evaluation.split (format scenes: evaluation.seed)"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        evaluation = inputs.config.evaluation
        slide = {} if evaluation.mode == "whole" else evaluation.model_dump(include={"crop", "stride"})
        return {
            "evaluation": evaluation.model_dump(include={"mode", "scales", "flip", "merge"}) | slide,
            "crf": evaluation.crf.key_fields() if evaluation.crf.enabled else None,
            "palette": inputs.vocabulary.palette,
            "photo": inputs.photo_settings,
        }

    @override
    def enabled(self, config: RunConfig) -> bool:
        return config.train.enabled and bool(config.evaluation.photos)

    @override
    def prepare(self, config: RunConfig, workers: Workers) -> None:
        """Prepare the CRF."""
        from clipes_core.dense_crf import prepare_crf

        if config.evaluation.crf.enabled:
            prepare_crf(config.evaluation.crf, logger.info, logger.warning)

    @override
    def rows(self, job: ShardJob) -> Iterator[SegmenterScoresRow]:
        """Predict the masks of a shard's photos. If a photo has a true mask, score the predicted mask."""
        from clipes.tasks.inputs.pngs import resized_ids
        from clipes.tasks.models.segmenter_file import predict_ids

        limit_opencv_threads()
        segmenter = segmenter_of(job)
        palette = np.asarray(job.vocabulary.palette, dtype=np.uint8)
        memory_mib = job.config.execution.decode_memory_mib
        for photo, loaded in load_photos(job.photos, job.config.dataset, memory_mib):
            try:
                if isinstance(loaded, PhotoError):
                    raise loaded
                ids = predict_ids(segmenter, loaded, job.config.evaluation)
                yield _row(photo, resized_ids(ids, loaded.size_hw), palette, 1 + len(job.vocabulary.classes))
            except PhotoError as error:
                yield SegmenterScoresRow.failed(photo.image_id, error)


SEGMENTER_SCORES = SegmenterScores()


def segmenter_of(job: ShardJob) -> "LoadedSegmenter":
    """Load the trained segmenter that a shard reads; later shards of a worker reuse it.

    Raises:
        BrokenArtifactError: the weights are missing or damaged. The message contains the URI of the artifact,
            because clipes rebuilds the artifact together with its weights.
    """
    from clipes.tasks.storage.parquet.footer import notice_replacement, read_footer
    from clipes.tasks.training.building import import_own_modules

    (artifact_uri,) = job.upstream_uris(SEGMENTER)
    if job.training is not None:
        import_own_modules(job.training)
    worker, footer = current_worker(), read_footer(artifact_uri)
    try:
        with notice_replacement(artifact_uri, footer.content):
            stated = footer.metadata.get("weights", "")
            return _loaded(artifact_uri, stated, worker.slot.device, worker.slot.threads)
    except BrokenArtifactError as broken:
        if broken.uri == artifact_uri:
            raise
        raise BrokenArtifactError(artifact_uri, f"has unusable weights ({broken.uri} {broken.reason})") from broken


@lru_cache(maxsize=1)
def _loaded(artifact_uri: str, stated: str, device: str, threads: int) -> "LoadedSegmenter":
    """Load the segmenter whose size and digest are `stated`; cached, so that later shards reuse it."""
    import torch

    from clipes.tasks.models.segmenter_file import load_segmenter
    from clipes.tasks.storage.checksums.weights import check_weights
    from clipes.tasks.storage.layout import weights_uri

    torch.set_num_threads(threads)
    check_weights(artifact_uri, stated, whole=True)
    return load_segmenter(weights_uri(artifact_uri), device)


def _row(photo: Photo, ids: np.ndarray, palette: np.ndarray, num_classes: int) -> SegmenterScoresRow:
    from clipes.tasks.inputs.pngs import palette_png
    from clipes_core.evaluation.metrics import confusion

    cells: list[tuple[int, int, int]] = []
    if photo.truth_uri is not None:
        truth = load_truth(photo, ids.shape)
        cells = list(sparse_cells(confusion(truth, ids, num_classes)))
    return SegmenterScoresRow(
        image_id=photo.image_id,
        mask_png=palette_png(ids, palette),
        class_pixels=tuple(np.bincount(ids.ravel(), minlength=num_classes).tolist()),
        **cell_columns(TRIPLET_COLUMNS, cells),
    )
