"""The content of metrics.json: scores, facts about the training, and the counts of every stage."""

import math
from dataclasses import asdict
from typing import Any

from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.pooled_scores import PooledScores, pooled_scores, pooled_segmenter_scores
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.runs.truth_warnings import scored_truths, truth_warnings
from clipes.tasks.stages.mask_scores import MASK_SCORES
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.registry import all_names
from clipes.tasks.stages.segmenter import SEGMENTER, read_training_facts
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes_core.evaluation.scored import SEGMENTER_MASK


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
        and is left out if the run has no segmenter. The entry `stages` holds the counts of every stage.

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
    trained = [{"training": read_training_facts(run.store, record.uri)} for record in ledger.records(SEGMENTER.name)]
    stages = {name: asdict(summary) for name, summary in summaries(ledger, all_names()).items()}
    return {
        **scored,
        **({"warnings": warnings} if warnings else {}),
        **(trained[0] if trained else {}),
        "stages": stages,
    }


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
