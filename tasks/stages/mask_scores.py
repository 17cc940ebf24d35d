"""The stage `mask_scores`: compares the CAMs, the pseudo mask and the baseline of each photo with its true mask."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from clipes.tasks.inputs.truth import load_truth
from clipes.tasks.machine.opencv_threads import limit_opencv_threads
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, check_upstream, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.columns.cams import CamColumn, stored_cams
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, cell_columns, sparse_cells
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.true_masks import TRUE_MASKS
from clipes_core.errors import PhotoError
from clipes_core.evaluation.scored import CENTRE_BOX, INITIAL_CAM, PSEUDO_MASK, REFINED_CAM

# The exponents of the background score that the program of the authors of CLIP-ES tries.
CAM_POWERS: Mapping[CamColumn, tuple[int, ...]] = {"cam": tuple(range(1, 11)), "refined_cam": (1, 2)}
SCORED_AS = {"cam": INITIAL_CAM.key, "refined_cam": REFINED_CAM.key}
MASK_COLUMNS = ("image_id", "status", "error", "mask_png", "confidence_png")
CELL_COLUMNS = ("scored", "background_power", *TRIPLET_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class MaskScoresRow(PhotoRow):
    """The non-zero cells of a photo's confusion matrices, in five lists with one item per cell.

    Attributes:
        scored: kind of prediction: centre_box, initial_cam, refined_cam or pseudo_mask.
        background_power: exponent of the background score; 0 for centre_box, which has no background score.
        truth: true id of the cell.
        prediction: predicted id of the cell.
        pixels: number of pixels with this true id and this predicted id.
        confidence_pixels: (256,) number of pixels with a true id at each level of the confidence of the pseudo mask.
            None in rows of earlier versions of clipes.
        confidence_right: (256,) how many of these pixels are right in the pseudo mask; None like `confidence_pixels`.
            No stage reads these two columns, so they are no part of the row's digest.
    """

    scored: tuple[str, ...] = column("list<string>", ())
    background_power: tuple[float, ...] = column("list<float32>", ())
    truth: tuple[int, ...] = column("list<uint8>", ())
    prediction: tuple[int, ...] = column("list<uint8>", ())
    pixels: tuple[int, ...] = column("list<int64>", ())
    confidence_pixels: tuple[int, ...] | None = column("list<int64>", None, in_digest=False)
    confidence_right: tuple[int, ...] | None = column("list<int64>", None, in_digest=False)


class MaskScores(Stage):
    """Compares CAMs, pseudo masks and the baseline with true masks."""

    name, version = "mask_scores", 2
    upstream = (CAMS, MASKS)
    after = (TRUE_MASKS,)
    row, kind, workers = MaskScoresRow, PHOTO_ROWS, "cpu"
    needs_truth = True
    pooled = True

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return {"classes": len(inputs.vocabulary.classes)}

    @override
    def rows(self, job: ShardJob) -> Iterator[MaskScoresRow]:
        """Compare CAMs, pseudo masks and the baseline of a shard's photos with their true masks."""
        limit_opencv_threads()
        photos = {photo.image_id: photo for photo in job.photos}
        masks = {row["image_id"]: row for row in job.upstream_rows(MASKS, MASK_COLUMNS)}
        for cams in job.upstream_rows(CAMS):
            image_id = cams["image_id"]
            mask = masks.pop(image_id)
            try:
                check_upstream(mask, "mask")
                truth = load_truth(photos[image_id], (cams["height"], cams["width"]))
                yield _row(job, cams, mask, truth)
            except PhotoError as error:
                yield MaskScoresRow.failed(image_id, error)


MASK_SCORES = MaskScores()


def photo_mious(row: Mapping[str, Any], num_classes: int) -> dict[str, float]:
    """Compute the mIoU of one photo's pseudo mask and of its baseline.

    Args:
        row: row of the photo, with the columns `CELL_COLUMNS`.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        Kind of prediction (pseudo_mask, centre_box) -> mIoU in [0, 1]. Empty if no pixel has a true id.
    """
    from clipes_core.evaluation.metrics import Triplets, from_triplets, scores_from_confusion

    cells = list(zip(*(row[name] for name in CELL_COLUMNS), strict=True))
    mious = {}
    for what in (PSEUDO_MASK.key, CENTRE_BOX.key):
        found = [cell[2:] for cell in cells if cell[0] == what]
        if found:
            triplets = Triplets(*(np.array(column, np.int64) for column in zip(*found, strict=True)))
            mious[what] = scores_from_confusion(from_triplets(triplets, num_classes)).miou
    return mious


def confusions_of_cams(
    cams: Mapping[CamColumn, np.ndarray], class_ids: np.ndarray, truth: np.ndarray, num_classes: int
) -> Iterator[tuple[str, float, np.ndarray]]:
    """Compare a photo's CAMs with its true mask, once per exponent of the background score in `CAM_POWERS`.

    Args:
        cams: key of `CAM_POWERS` -> (K, h, w) float32 CAMs in [0, 1].
        class_ids: (K,) int64 data set ids of the classes.
        truth: (H, W) uint8 true ids.
        num_classes: 1 + number of classes of the vocabulary.

    Yields:
        (kind of CAM, exponent, confusion matrix). The kind is initial_cam or refined_cam. The matrix is
        (num_classes, num_classes) int64.
    """
    from clipes_core.evaluation.metrics import cam_confusions
    from clipes_core.pseudo_mask import resize_cams

    for name, powers in CAM_POWERS.items():
        maps = resize_cams(cams[name], truth.shape)
        matrices = cam_confusions(maps, class_ids, truth, powers, num_classes)
        yield from ((SCORED_AS[name], power, matrix) for power, matrix in zip(powers, matrices, strict=True))


def _row(job: ShardJob, cams: Mapping[str, Any], mask: Mapping[str, Any], truth: np.ndarray) -> MaskScoresRow:
    from clipes.tasks.inputs.pngs import read_png_map
    from clipes_core.evaluation.baseline import centre_box
    from clipes_core.evaluation.calibration import count_by_confidence
    from clipes_core.evaluation.metrics import confusion

    size_hw = (cams["height"], cams["width"])
    num_classes = 1 + len(job.vocabulary.classes)
    class_ids = np.asarray(cams["class_ids"], dtype=np.int64)
    maps = {name: stored_cams(cams, name) for name in CAM_POWERS}
    found = list(confusions_of_cams(maps, class_ids, truth, num_classes))
    pseudo_mask, confidence = (read_png_map(mask[name]) for name in ("mask_png", "confidence_png"))
    found.append((PSEUDO_MASK.key, job.config.crf.background_power, confusion(truth, pseudo_mask, num_classes)))
    found.append((CENTRE_BOX.key, 0, confusion(truth, centre_box(size_hw, class_ids), num_classes)))
    cells = [(scored, float(power), *cell) for scored, power, matrix in found for cell in sparse_cells(matrix)]
    counted, right = count_by_confidence(confidence, pseudo_mask, truth)
    return MaskScoresRow(
        image_id=cams["image_id"],
        confidence_pixels=tuple(counted.tolist()),
        confidence_right=tuple(right.tolist()),
        **cell_columns(CELL_COLUMNS, cells),
    )
