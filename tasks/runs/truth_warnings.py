"""Warn if the true masks of a run's photos do not agree with the photos' labels, so that scores may mean nothing."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS
from clipes_core.evaluation.truth_check import PhotoTruth, TruthCheck, check_truths
from clipes_core.vocabulary import ClassEntry

CAUSES = (
    "The pixels of a true mask must be the ids of the classes in dataset.classes. Check whether the true masks have "
    "the values 0 and 255, ids that are off by one, or the ids of another vocabulary"
)
BACKGROUND = 0  # id
SHOWN_CLASSES = 5
COLUMNS = ("image_id", "status", *TRIPLET_COLUMNS)


def scored_truths(run: PreparedRun, ledger: Ledger, stage: Stage) -> TruthCheck:
    """Compare the labels of the photos that a stage has scored with the classes in their true masks.

    Evaluation photos need no labels. If a photo has none, the class that the segmenter predicts is compared.

    Args:
        run: the run.
        ledger: state of the run's shards.
        stage: a stage whose rows hold confusion matrices, in the columns `TRIPLET_COLUMNS`.

    Raises:
        ArtifactError: an artifact cannot be read.
    """
    shards = run.inputs.evaluation if stage.kind.of_evaluation else run.inputs.shards
    labels = {photo.image_id: photo.class_ids for photos in shards.values() for photo in photos if photo.truth_uri}
    return check_truths(
        [
            PhotoTruth(
                row["image_id"],
                frozenset(labels[row["image_id"]]),
                frozenset(row["truth"]) - {BACKGROUND},
                has_background=BACKGROUND in row["truth"],
                predicted=_main_class(row) if stage.kind.of_evaluation else None,
            )
            for table in run.store.read_all((record.uri for record in ledger.records(stage.name)), COLUMNS)
            for row in table.to_pylist()
            if row["status"] == "ok" and row["image_id"] in labels
        ]
    )


def truth_warnings(run: PreparedRun, stage: Stage, check: TruthCheck) -> Iterator[str]:
    """Yield a warning for each way in which many true masks disagree with the labels."""
    section, classes = ("evaluation" if stage.kind.of_evaluation else "dataset"), run.inputs.vocabulary.classes
    if check.suspicious:
        example = _described(check.without_labels[0], classes)
        yield f"{section}: {check.summary}. For example, {example}. {CAUSES}."
    if check.contradicts_predictions:
        photo = check.without_predicted[0]
        yield (
            f"{section}: {len(check.without_predicted)} of {len(check.predicted)} true masks of photos without labels "
            "do not contain the class that the segmenter mostly predicts for their photo, so the scores may mean "
            f"nothing. For example, it predicts {_names([photo.predicted or 0], classes)} for photo {photo.image_id}, "
            f"and the true mask contains {_names(photo.truth, classes)}. Either the segmenter has learned little, or "
            f"the ids in the true masks are wrong. {CAUSES}."
        )
    if check.incomplete:
        yield (
            f"{section}: {len(check.with_others)} of {len(check.photos)} true masks contain classes that are not among "
            f"the labels of their photo. For example, {_described(check.with_others[0], classes)}. Complete the "
            "labels, or correct the ids in the true masks."
        )
    if check.lacks_background:
        yield (
            f"{section}: {len(check.without_background)} of {len(check.photos)} true masks contain no background, so "
            "pseudo masks that are too large may still have high scores. In a true mask, pixels without an object have "
            "the id 0. The id 255 marks pixels that are not scored."
        )


def _main_class(row: Mapping[str, Any]) -> int | None:
    """Return the class with the most predicted pixels; None if only background is predicted."""
    pixels = Counter[int]()
    for prediction, count in zip(row["prediction"], row["pixels"], strict=True):
        pixels[prediction] += count
    del pixels[BACKGROUND]
    return max(pixels, key=lambda class_id: (pixels[class_id], class_id), default=None)


def _described(photo: PhotoTruth, classes: Sequence[ClassEntry]) -> str:
    labels, truth = (_names(ids, classes) for ids in (photo.labels, photo.truth))
    labelled = f"the labels {labels}" if labels else "no labels"
    return f"photo {photo.image_id} has {labelled}, and its true mask contains {truth or 'only background'}"


def _names(class_ids: Collection[int], classes: Sequence[ClassEntry]) -> str:
    names = [classes[class_id - 1].name for class_id in sorted(class_ids)]
    return ", ".join(names[:SHOWN_CLASSES]) + (", …" if len(names) > SHOWN_CLASSES else "")
