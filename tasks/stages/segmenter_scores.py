"""Stage segmenter_scores: the trained segmenter's mask of each photo of the evaluation, and its confusion."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch

from clipes.tasks.inputs.photos import Photo, load_photos, load_truth
from clipes.tasks.inputs.pngs import palette_png, resized_ids
from clipes.tasks.machine.worker import current_worker
from clipes.tasks.models.segmenter_file import Segmenter, load_segmenter, predict_ids
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.stages.confusion_rows import sparse_cells
from clipes.tasks.storage.artifact_store import weights_uri
from clipes.tasks.training.building import import_own_modules
from clipes_core.errors import BrokenArtifactError, PhotoError
from clipes_core.evaluation.metrics import confusion


@dataclass(frozen=True)
class SegmenterScoresRow:
    """A photo's predicted mask and its confusion as triplets; see the schema in tasks/stages.py."""

    image_id: str
    status: str = "ok"
    error: str | None = None
    error_kind: str | None = None
    mask_png: bytes = b""
    class_pixels: tuple[int, ...] = ()
    truth: tuple[int, ...] = ()
    prediction: tuple[int, ...] = ()
    pixels: tuple[int, ...] = ()


def rows(job: ShardJob) -> Iterator[SegmenterScoresRow]:
    """Let the run's segmenter predict a shard's photos, and compare with the truth where there is one."""
    cv2.setNumThreads(current_worker().slot.threads)  # OpenCV ignores OMP_NUM_THREADS
    (artifact_uri,) = job.plan.upstream["segmenter"]
    import_own_modules(job.imports)
    segmenter = _segmenter_of(artifact_uri)
    palette = np.asarray(job.vocabulary.palette, dtype=np.uint8)
    for photo, loaded in load_photos(job.photos, job.config.dataset):
        try:
            if isinstance(loaded, PhotoError):
                raise loaded
            ids = predict_ids(segmenter, photo, loaded, job.config.evaluation)
            yield _row(photo, resized_ids(ids, loaded.size_hw), palette, 1 + len(job.vocabulary.classes))
        except PhotoError as error:
            yield SegmenterScoresRow(photo.image_id, "error", error.reason, error.kind)


def _segmenter_of(artifact_uri: str) -> Segmenter:
    """The segmenter of an artifact; where its weights are broken, the artifact is, which is what can be made again."""
    worker = current_worker()
    try:
        return _loaded(weights_uri(artifact_uri), worker.slot.device, worker.slot.threads)
    except BrokenArtifactError as broken:
        raise BrokenArtifactError(artifact_uri, f"lacks its weights ({broken.uri} {broken.reason})") from broken


@lru_cache(maxsize=1)
def _loaded(uri: str, device: str, threads: int) -> Segmenter:
    """The segmenter of this process, on its device, loaded once."""
    torch.set_num_threads(threads)
    return load_segmenter(uri, device)


def _row(photo: Photo, ids: np.ndarray, palette: np.ndarray, num_classes: int) -> SegmenterScoresRow:
    cells: list[tuple[int, int, int]] = []
    if photo.truth_uri is not None:
        truth = load_truth(photo.truth_uri, ids.shape)
        cells = list(sparse_cells(confusion(truth, ids, num_classes)))
    truths, predictions, pixels = zip(*cells, strict=True) if cells else ((), (), ())
    return SegmenterScoresRow(
        photo.image_id,
        mask_png=palette_png(ids, palette),
        class_pixels=tuple(np.bincount(ids.ravel(), minlength=num_classes).tolist()),
        truth=truths,
        prediction=predictions,
        pixels=pixels,
    )
