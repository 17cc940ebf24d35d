"""Stage prompt_scores: how well the CAMs of several templates agree with the true mask of a photo."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow.compute as pc

from clipes.tasks.execution.worker_pool import current_worker
from clipes.tasks.inputs.batches import Loaded, in_batches
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.stages.cams import loaded_backbone
from clipes.tasks.stages.confusion_rows import TRIPLET_COLUMNS, load_truth, sparse_cells
from clipes.tasks.stages.mask_scores import CAM_POWERS, SCORED_AS
from clipes.tasks.stages.texts import read_texts
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.cams import PhotoCams, template_cams
from clipes_core.errors import PhotoError
from clipes_core.evaluation.metrics import cam_confusions, scores_from_confusion
from clipes_core.pseudo_mask import resize_cams

CELL_COLUMNS = ("template", "scored", "background_power", *TRIPLET_COLUMNS)
MEASURED = tuple((SCORED_AS[column], float(power)) for column, powers in CAM_POWERS.items() for power in powers)


@dataclass(frozen=True)
class PromptScoresRow:
    """A photo's confusions as sparse triplets, six lists of one length; see tasks/stages.py."""

    image_id: str
    status: str = "ok"
    error: str | None = None
    error_kind: str | None = None
    template: tuple[int, ...] = ()
    scored: tuple[str, ...] = ()
    background_power: tuple[float, ...] = ()
    truth: tuple[int, ...] = ()
    prediction: tuple[int, ...] = ()
    pixels: tuple[int, ...] = ()


@dataclass(frozen=True)
class TemplateScore:
    """mIoU in [0, 1] of a template's CAMs, each at its best background power."""

    initial_miou: float
    initial_power: float
    refined_miou: float
    refined_power: float


def rows(job: ShardJob) -> Iterator[PromptScoresRow]:
    """Make the CAMs of a shard's photos for all sampled templates and compare them with the truth."""
    cv2.setNumThreads(current_worker().slot.threads)  # OpenCV ignores OMP_NUM_THREADS
    config = job.config
    backbone = loaded_backbone(config.clip)
    text_sets = [read_texts(job.store, uri, config.clip) for uri in job.plan.upstream["candidate_texts"]]

    def compute(batch: list[Loaded]) -> list[list[PhotoCams]]:
        images, class_ids = [loaded.image for _, loaded in batch], [photo.class_ids for photo, _ in batch]
        return template_cams(backbone, text_sets, images, class_ids, config.cam)

    for photo, loaded, cams in in_batches(job.photos, config.dataset, backbone.patch_size, compute):
        if isinstance(cams, PhotoError):
            yield PromptScoresRow(photo.image_id, "error", cams.reason, cams.kind)
            continue
        assert loaded is not None  # it has CAMs
        try:
            yield _row(photo, loaded.size_hw, cams, 1 + len(job.vocabulary.classes))
        except PhotoError as error:
            yield PromptScoresRow(photo.image_id, "error", error.reason, error.kind)


def pooled_template_scores(
    store: ArtifactStore, uris: Iterable[str], templates: int, num_classes: int
) -> tuple[list[TemplateScore], int]:
    """Pool the confusions of artifacts and score each template.

    Args:
        store: reads the artifacts.
        uris: of the artifacts of all shards.
        templates: T, how many were sampled.
        num_classes: 1 + K.

    Returns:
        T scores in the order of the templates, and how many photos count.
    """
    pooled = np.zeros((templates, len(MEASURED), num_classes, num_classes), np.int64)
    photos = 0
    for uri in uris:
        table = store.read(uri, ("status", *CELL_COLUMNS))
        photos += table["status"].to_pylist().count("ok")
        template, scored, power, *cells, pixels = (pc.list_flatten(table[name]).to_numpy() for name in CELL_COLUMNS)
        measured = np.array([MEASURED.index(each) for each in zip(scored.tolist(), power.tolist(), strict=True)], int)
        np.add.at(pooled, (template, measured, *cells), pixels)
    return [_best(own) for own in pooled], photos


def _row(photo: Photo, size_hw: tuple[int, int], cams: Sequence[PhotoCams], num_classes: int) -> PromptScoresRow:
    truth = load_truth(str(photo.truth_uri), size_hw)
    class_ids = np.asarray(photo.class_ids, dtype=np.int64)
    cells: list[tuple[Any, ...]] = []
    for template, of_template in enumerate(cams):
        for column, powers in CAM_POWERS.items():
            maps = resize_cams(getattr(of_template, column), size_hw)
            matrices = cam_confusions(maps, class_ids, truth, powers, num_classes)
            for power, matrix in zip(powers, matrices, strict=True):
                cells += [(template, SCORED_AS[column], float(power), *cell) for cell in sparse_cells(matrix)]
    return PromptScoresRow(photo.image_id, "ok", None, None, *zip(*cells, strict=True))


def _best(matrices: np.ndarray) -> TemplateScore:
    """The largest mIoU of each kind of CAM over the background powers, the lowest power where they are equal."""
    best: dict[str, tuple[float, float]] = {}
    for (scored, power), matrix in zip(MEASURED, matrices, strict=True):
        miou = scores_from_confusion(matrix).miou
        if scored not in best or miou > best[scored][0]:
            best[scored] = (miou, power)
    return TemplateScore(*best["initial_cam"], *best["refined_cam"])
