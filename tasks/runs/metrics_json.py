"""The content of metrics.json: scores, facts about the training, and the counts of every stage."""

import math
from dataclasses import asdict
from typing import Any

from clipes.tasks.plan.keys import validation_digest
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.pooled_scores import PooledScores, pooled_scores, pooled_segmenter_scores
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.runs.truth_warnings import scored_truths, truth_warnings
from clipes.tasks.stages.mask_scores import MASK_SCORES
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.registry import all_names
from clipes.tasks.stages.segmenter import SEGMENTER, is_validated_on, read_training_facts
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes_core.evaluation.scored import SEGMENTER_MASK

OTHER_VALIDATION = (
    "evaluation: the photos of the validations, their labels or their true masks have changed since the segmenter was "
    "trained, so clipes does not show the mIoU of these validations. The scores of the segmenter belong to the current "
    "photos. To validate on them too, run again with --fresh, which computes all stages again"
)
NO_VALIDATION = (
    "evaluation: the segmenter was validated during its training, but this run has no photos for a validation, so "
    "clipes does not show the mIoU of the validations"
)
UNKNOWN_VALIDATION = (
    "evaluation: an earlier version of clipes trained the segmenter, and did not record on which photos it measured "
    "the best mIoU during training. This mIoU is out of date if these photos or their true masks have changed since"
)


def run_metrics(run: PreparedRun, ledger: Ledger) -> dict[str, Any]:
    """Return the content of metrics.json.

    Args:
        run: the run to report on.
        ledger: state of the run's shards.

    Returns:
        Each kind of prediction (baseline, initial CAM, refined CAM, pseudo mask, segmenter) has an entry with its
        scores in [0, 1]. The entry is left out if no photo with a true mask was scored, or if the scores mean nothing,
        because most true masks contain none of the labels of their photo. The entry `warnings` lists the reasons to
        doubt the scores, and is left out if there are none. The entry `training` holds the facts about the training,
        and is left out if the run has no segmenter. If the training was validated on other photos than those of this
        run, its best mIoU is None. The entry `stages` holds the counts of every stage.

    Raises:
        ArtifactError: an artifact with scores, or the artifact of the segmenter, cannot be read.
    """
    names = ["background", *(entry.name for entry in run.inputs.vocabulary.classes)]
    checks = {stage: scored_truths(run, ledger, stage) for stage in (PROMPT_SCORES, MASK_SCORES, SEGMENTER_SCORES)}
    pooled: dict[str, PooledScores] = {}
    if not checks[MASK_SCORES].meaningless:
        uris = [record.uri for record in ledger.records(MASK_SCORES.name)]
        pooled = pooled_scores(run.store, uris, len(names), run.config.crf.background_power)
    if not checks[SEGMENTER_SCORES].meaningless:
        uris = [record.uri for record in ledger.records(SEGMENTER_SCORES.name)]
        predicted = pooled_segmenter_scores(run.store, uris, len(names))
        pooled |= {} if predicted is None else {SEGMENTER_MASK.key: predicted}
    scored = {what: _scores_json(scores, names) for what, scores in pooled.items()}
    warnings = [warning for stage, check in checks.items() for warning in truth_warnings(run, stage, check)]
    trained: dict[str, Any] = {}
    for record in ledger.records(SEGMENTER.name):
        trained["training"], doubts = _training_json(read_training_facts(record.uri), run)
        warnings += doubts
    stages = {name: asdict(summary) for name, summary in summaries(ledger, all_names()).items()}
    return {
        **scored,
        **({"warnings": warnings} if warnings else {}),
        **trained,
        "stages": stages,
    }


def _training_json(facts: dict[str, Any], run: PreparedRun) -> tuple[dict[str, Any], list[str]]:
    """Return the facts about a training, and the reasons to doubt its best mIoU."""
    known = is_validated_on(facts, validation_digest(run.inputs.validation))
    if facts.get("best_miou") is None or known:
        return facts, []
    if known is None:
        return facts, [UNKNOWN_VALIDATION]
    reason = OTHER_VALIDATION if run.inputs.validation else NO_VALIDATION
    return {**facts, "best_miou": None, "best_iteration": None}, [reason]


def _scores_json(pooled: PooledScores, names: list[str]) -> dict[str, Any]:
    scores = pooled.scores
    ious = zip(names, scores.class_iou.tolist(), strict=True)
    return {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "mean_accuracy": scores.mean_accuracy,
        "fwiou": scores.fwiou,
        "class_iou": {name: None if math.isnan(iou) else iou for name, iou in ious},
        "background_power": pooled.background_power,
        "images": pooled.images,
    }
