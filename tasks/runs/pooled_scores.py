"""Scores over all photos, computed from the confusion matrices that artifacts hold for each photo."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS
from clipes.tasks.stages.mask_scores import CELL_COLUMNS
from clipes.tasks.stages.prompt_scores import CELL_COLUMNS as TEMPLATE_COLUMNS
from clipes.tasks.stages.prompt_scores import MEASURED
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.evaluation.metrics import Scores, Triplets, from_triplets, scores_from_confusion
from clipes_core.evaluation.scored import CENTRE_BOX, INITIAL_CAM, PSEUDO_MASK, REFINED_CAM


@dataclass(frozen=True)
class PooledScores:
    """Scores of one kind of prediction over all photos.

    Attributes:
        scores: scores of the predictions. CAMs are scored at the background power with the best mIoU, and pseudo masks
            at the configured background power.
        background_power: background power of `scores`; None for the baseline and for a segmenter, which do not use a
            background power.
        images: number of scored photos, all of which have a true mask.
    """

    scores: Scores
    background_power: float | None
    images: int


def pooled_scores(
    store: ArtifactStore, uris: Iterable[str], num_classes: int, mask_power: float
) -> dict[str, PooledScores]:
    """Add up the confusion matrices of all photos, and compute the scores of each kind of prediction.

    Args:
        store: store that holds the artifacts.
        uris: URIs of all artifacts of the stage `mask_scores`.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        mask_power: background power of the pseudo masks.

    Returns:
        Kind of prediction (centre_box, initial_cam, refined_cam, pseudo_mask) -> scores. Empty if no photo was scored.
    """
    stated: dict[str, float | None] = {PSEUDO_MASK.key: mask_power, CENTRE_BOX.key: None}
    pooled: dict[tuple[str, float], np.ndarray] = {}
    images = 0
    for table in store.read_all(uris, ("status", *CELL_COLUMNS)):
        images += table["status"].to_pylist().count("ok")
        for key, triplets in _triplets(table):
            pooled[key] = pooled.get(key, 0) + from_triplets(triplets, num_classes)
    best: dict[str, PooledScores] = {}
    for (scored, power), matrix in sorted(pooled.items()):
        scores = scores_from_confusion(matrix)
        if scored not in best or scores.miou > best[scored].scores.miou:
            best[scored] = PooledScores(scores, stated.get(scored, power), images)
    return best


def pooled_confusion(table: pa.Table, scored: str, num_classes: int) -> np.ndarray:
    """Add up the confusion matrices of one kind of prediction, over all background powers.

    Args:
        table: rows of the stage `mask_scores`, with the columns `CELL_COLUMNS`.
        scored: kind of prediction, such as pseudo_mask, which has a single background power.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        (1 + K, 1 + K) int64; rows are true ids, columns are predicted ids.
    """
    matrices = (from_triplets(triplets, num_classes) for (what, _), triplets in _triplets(table) if what == scored)
    return sum(matrices, start=np.zeros((num_classes, num_classes), np.int64))


def _triplets(table: pa.Table) -> Iterator[tuple[tuple[str, float], Triplets]]:
    """Yield the cells of all confusion matrices, grouped by kind of prediction and background power."""
    columns = (pc.list_flatten(table[name]).to_numpy() for name in CELL_COLUMNS)
    scored, power, truth, prediction, pixels = columns
    for what, at in set(zip(scored.tolist(), power.tolist(), strict=True)):
        here = (scored == what) & (power == at)
        yield (what, at), Triplets(truth[here].astype(np.int16), prediction[here].astype(np.int16), pixels[here])


def pooled_segmenter_scores(store: ArtifactStore, uris: Iterable[str], num_classes: int) -> PooledScores | None:
    """Add up the confusion matrices of all photos that a segmenter is scored on, and compute the scores.

    Args:
        store: store that holds the artifacts.
        uris: URIs of all artifacts of the stage `segmenter_scores`.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        The scores; None if no photo with a true mask was scored.

    Raises:
        ArtifactError: an artifact cannot be read.
    """
    pooled, images = np.zeros((num_classes, num_classes), np.int64), 0
    for table in store.read_all(uris, TRIPLET_COLUMNS):
        images += pc.sum(pc.greater(pc.list_value_length(table["pixels"]), 0)).as_py() or 0
        truth, prediction, pixels = (pc.list_flatten(table[name]).to_numpy() for name in TRIPLET_COLUMNS)
        pooled += from_triplets(Triplets(truth.astype(np.int16), prediction.astype(np.int16), pixels), num_classes)
    return PooledScores(scores_from_confusion(pooled), None, images) if images else None


@dataclass(frozen=True)
class TemplateScore:
    """The mIoU in [0, 1] of a template's initial and refined CAMs, each at its best background power."""

    initial_miou: float
    initial_power: float
    refined_miou: float
    refined_power: float


def pooled_template_scores(
    store: ArtifactStore, uris: Iterable[str], templates: int, num_classes: int
) -> tuple[list[TemplateScore], int]:
    """Add up the confusion matrices of all photos, and compute the scores of each sampled template.

    Args:
        store: store that holds the artifacts.
        uris: URIs of all artifacts of the stage `prompt_scores`.
        templates: T, the number of sampled templates.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        T scores in the order of the templates, and the number of photos that were scored.
    """
    pooled = np.zeros((templates, len(MEASURED), num_classes, num_classes), np.int64)
    photos = 0
    for table in store.read_all(uris, ("status", *TEMPLATE_COLUMNS)):
        photos += table["status"].to_pylist().count("ok")
        template, scored, power, *cells, pixels = (pc.list_flatten(table[name]).to_numpy() for name in TEMPLATE_COLUMNS)
        measured = np.array([MEASURED.index(each) for each in zip(scored.tolist(), power.tolist(), strict=True)], int)
        np.add.at(pooled, (template, measured, *cells), pixels)
    return [_best(own) for own in pooled], photos


def _best(matrices: np.ndarray) -> TemplateScore:
    """For each kind of CAM, return the highest mIoU and its background power; on a tie, the lowest such power."""
    best: dict[str, tuple[float, float]] = {}
    for (scored, power), matrix in zip(MEASURED, matrices, strict=True):
        miou = scores_from_confusion(matrix).miou
        if scored not in best or miou > best[scored][0]:
            best[scored] = (miou, power)
    return TemplateScore(*best[INITIAL_CAM.key], *best[REFINED_CAM.key])
