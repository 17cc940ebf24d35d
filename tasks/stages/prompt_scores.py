"""Stage prompt_scores: how well the CAMs of several templates agree with the true mask of a photo."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from clipes.tasks.inputs.batches import Loaded, in_batches
from clipes.tasks.inputs.photos import Photo, load_truth
from clipes.tasks.machine.worker import current_worker
from clipes.tasks.models.loaded_clip import loaded_backbone
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.stages.confusion_rows import TRIPLET_COLUMNS, sparse_cells
from clipes.tasks.stages.mask_scores import CAM_POWERS, SCORED_AS
from clipes.tasks.stages.texts import read_texts
from clipes_core.cams import PhotoCams, template_cams
from clipes_core.errors import PhotoError
from clipes_core.evaluation.metrics import cam_confusions
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
