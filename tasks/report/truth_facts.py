"""The facts about true masks that a report shows, gathered from a run's artifacts."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.pooled_scores import pooled_confusion
from clipes.tasks.stages.columns.calibration import shard_calibration
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, photo_mious
from clipes.tasks.storage.parquet.reading import read_table, rows_of
from clipes_core.evaluation.scored import PSEUDO_MASK
from clipes_core.pictures.gallery import GalleryChoice


@dataclass(frozen=True, eq=False)
class TruthFacts:
    """Comparison of the pseudo masks with true masks.

    Attributes:
        confusion: (1 + K, 1 + K) int64, confusion matrix of all photos; rows are true ids, columns are predicted ids.
        mious: (N,) float64, mIoU of each photo, in [0, 1].
        calibrated: number of photos that `counted` covers; photos that earlier versions of clipes scored are missing.
        counted: (256,) int64, number of pixels with a true id at each level of confidence.
        right: (256,) int64, how many of them are right.
    """

    confusion: np.ndarray
    mious: np.ndarray
    calibrated: int
    counted: np.ndarray
    right: np.ndarray


def truth_facts(artifacts: RunArtifacts, num_classes: int, choice: GalleryChoice) -> TruthFacts:
    """Read the scores of all photos, and add each photo and its mIoU to the choice for the gallery.

    Args:
        artifacts: reader of the run's artifacts.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        choice: choice for the gallery. A photo without a true id gets the score nan.
    """
    pooled, mious = np.zeros((num_classes, num_classes), np.int64), []
    read = partial(read_table, columns=("image_id", "status", *CELL_COLUMNS))
    for table in artifacts.each(MASK_SCORES.name, read):
        pooled += pooled_confusion(table, PSEUDO_MASK.key, num_classes)
        for row in rows_of(table):
            if row["status"] == "ok":
                miou = photo_mious(row, num_classes).get(PSEUDO_MASK.key, math.nan)
                choice.add(row["image_id"], miou)
                mious.append(miou)
    shards = list(artifacts.each(MASK_SCORES.name, shard_calibration))
    return TruthFacts(
        confusion=pooled,
        mious=np.array([miou for miou in mious if not math.isnan(miou)]),
        calibrated=sum(shard.photos for shard in shards),
        counted=sum((shard.counted for shard in shards), start=np.zeros(256, np.int64)),
        right=sum((shard.right for shard in shards), start=np.zeros(256, np.int64)),
    )
