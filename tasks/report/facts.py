"""The facts that a report shows, gathered from a run's files and artifacts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from clipes.tasks.report.gallery.pictures import Pictures
from clipes.tasks.report.photo_counts import PhotoCounts, count_photos
from clipes.tasks.report.segmenter_facts import SegmenterFacts, segmenter_facts
from clipes.tasks.report.truth_facts import TruthFacts, truth_facts
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.photos_to_check import PhotoToCheck, photos_to_check
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.columns.confidence import shard_confidence
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.registry import all_names
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.storage.layout import MANIFEST_FILE, REJECTS_FILE
from clipes.tasks.storage.run_status import RunStatus, recorded_vocabulary
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.errors import ArtifactError
from clipes_core.evaluation.scored import PSEUDO_MASK, SEGMENTER_MASK, Scored
from clipes_core.pictures.gallery import GalleryChoice, Picks
from clipes_core.vocabulary import Vocabulary

LISTED_REJECTS = 50
REJECT_COLUMNS = ("image_id", "uri", "stage", "kind", "reason")

Basis = Literal["miou", "confidence", "nothing"]


@dataclass(frozen=True)
class Rejects:
    """Photos without a result.

    Attributes:
        groups: (stage, kind of error) -> number of photos.
        listed: the first `LISTED_REJECTS` rows of rejects.parquet.
    """

    groups: Mapping[tuple[str, str], int]
    listed: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Everything that a report shows, except for the rows of its galleries.

    Attributes:
        status: content of run.json and metrics.json, and the state of every shard.
        config: config of the run.
        vocabulary: classes of the run.
        listed: how many photos manifest.parquet has, and which photos the gallery shows.
        rejects: photos without a result.
        sentences: class id -> prompts that CLIP encoded for the class; 0 is background.
        masks: number of pseudo masks.
        to_check: image_id -> photo that a person should look at, the most suspicious first.
        confidence: (256,) int64, number of pixels at each stored confidence level, over all masks.
        picks: ids of the photos for the gallery and for the files next to it.
        truth: comparison of the masks with true masks; None if no photo is scored, or if the report shows no mIoU of
            single photos.
        basis: quantity by which the gallery's best and worst photos were chosen; `nothing` if the gallery has only
            randomly chosen photos.
        segmenter: facts about the segmenter and its evaluation.
        artifacts: reader for the rows of the galleries.
        pictures: maker of the pictures.
    """

    status: RunStatus
    config: RunConfig
    vocabulary: Vocabulary
    listed: PhotoCounts
    rejects: Rejects
    sentences: Mapping[int, tuple[str, ...]]
    masks: int
    to_check: Mapping[str, PhotoToCheck]
    confidence: np.ndarray
    picks: Picks
    truth: TruthFacts | None
    basis: Basis
    segmenter: SegmenterFacts
    artifacts: RunArtifacts
    pictures: Pictures


def gather(status: RunStatus, artifacts: RunArtifacts, pictures: Pictures | None = None) -> RunFacts:
    """Gather the facts of a run from its tables and artifacts, a few rows at a time.

    Args:
        status: content of the run's files.
        artifacts: reader of the run's artifacts.
        pictures: maker of the pictures; by default, one that makes all pictures.

    Raises:
        UsageError: an earlier version of clipes wrote the run, or its config is invalid.
        ArtifactError: run.json names a stage that does not exist.
    """
    run = status.run
    if run["until"] not in all_names():
        raise ArtifactError(
            f"run.json of {run['name']} names the stage {run['until']!r}, which does not exist: run again"
        )
    config, vocabulary = parse_config(run["config"]), recorded_vocabulary(run)
    to_check = {photo.image_id: photo for photo in photos_to_check(status, artifacts)}
    suspicious = tuple(to_check)[: config.report.gallery // 2]
    others = partial(GalleryChoice, config.report.gallery - len(suspicious), suspicious)
    masks, confidence, by_confidence = _masks(artifacts, others())
    known = 1 + len(vocabulary.classes)
    scored = others()
    truth = truth_facts(artifacts, known, scored) if shows_photo_scores(status, PSEUDO_MASK) else None
    picks, basis = _choice(artifacts, others(), scored, by_confidence)
    shown = {*suspicious, *picks.best, *picks.worst, *picks.random}
    further = tuple(image_id for image_id in to_check if image_id not in shown)[: config.report.further]
    picks = replace(picks, to_check=suspicious, further=further)
    photos = count_photos(artifacts, MANIFEST_FILE, {*shown, *further})
    segmenter = segmenter_facts(
        run, artifacts, known, -(-config.report.gallery // 2), shows_photo_scores(status, SEGMENTER_MASK)
    )
    return RunFacts(
        status=status,
        config=config,
        vocabulary=vocabulary,
        listed=photos,
        rejects=_rejects(artifacts),
        sentences=_sentences(artifacts),
        masks=masks,
        to_check=to_check,
        confidence=confidence,
        picks=picks,
        truth=truth if scored.photos else None,
        basis=basis,
        segmenter=segmenter,
        artifacts=artifacts,
        pictures=pictures or Pictures(),
    )


def _masks(artifacts: RunArtifacts, choice: GalleryChoice) -> tuple[int, np.ndarray, GalleryChoice]:
    """Return the number of masks, a histogram of their confidence, and the choice by mean confidence."""
    masks, total = 0, np.zeros(256, np.int64)
    for shard in artifacts.each(MASKS.name, shard_confidence):
        masks, total = masks + len(shard.means), total + shard.histogram
        for image_id, mean in shard.means.items():
            choice.add(image_id, mean)
    return masks, total, choice


def shows_photo_scores(status: RunStatus, scored: Scored) -> bool:
    """Return whether the report shows the mIoU of single photos.

    It shows none if the run has ended without a score of all photos, for example because this score means nothing.
    """
    return status.metrics is None or scored.key in status.metrics


def _choice(
    artifacts: RunArtifacts, seen: GalleryChoice, scored: GalleryChoice, by_confidence: GalleryChoice
) -> tuple[Picks, Basis]:
    """Choose the photos of the gallery.

    If at least one mask has a score, photos are chosen by mIoU. If no mask has a score, they are chosen by confidence.
    If there are no masks, they are chosen at random from the photos with CAMs.

    Args:
        artifacts: artifacts of the run.
        seen: choice to which no photo has been added.
        scored: choice by mIoU, without photos if the report shows no mIoU of single photos.
        by_confidence: choice by mean confidence, as `_masks` returned it.
    """
    if scored.photos:
        return scored.picks(), "miou"
    if by_confidence.photos:
        return by_confidence.picks(), "confidence"
    for row in artifacts.rows(CAMS.name, ("image_id", "status")):
        if row["status"] == "ok":
            seen.add(row["image_id"], float("nan"))
    return seen.picks(), "nothing"


def _rejects(artifacts: RunArtifacts) -> Rejects:
    groups: Counter[tuple[str, str]] = Counter()
    listed: list[dict[str, Any]] = []
    for row in artifacts.run_rows(REJECTS_FILE, REJECT_COLUMNS):
        groups[row["stage"], row["kind"]] += 1
        if len(listed) < LISTED_REJECTS:
            listed.append(row)
    return Rejects(groups, tuple(listed))


def _sentences(artifacts: RunArtifacts) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for row in artifacts.rows(TEXTS.name, ("class_id", "sentences")):
        found[row["class_id"]] = (*found.get(row["class_id"], ()), *row["sentences"])
    return found
