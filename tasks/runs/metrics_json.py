"""The content of metrics.json: scores, facts about the training, and the counts of every stage."""

import math
from dataclasses import asdict
from typing import Any

from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.pooled_scores import PooledScores, pooled_scores, pooled_segmenter_scores
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.stages.mask_scores import MASK_SCORES
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
        scores in [0, 1]. The entry is left out if no photo with a true mask was scored. The entry `training` holds the
        facts about the training, and is left out if the run has no segmenter. The entry `stages` holds the counts of
        every stage.

    Raises:
        ArtifactError: an artifact with scores, or the artifact of the segmenter, cannot be read.
    """
    names = ["background", *(entry.name for entry in run.inputs.vocabulary.classes)]
    uris = [record.uri for record in ledger.records(MASK_SCORES.name)]
    pooled = pooled_scores(run.store, uris, len(names), run.config.crf.background_power)
    predicted = pooled_segmenter_scores(
        run.store, [record.uri for record in ledger.records(SEGMENTER_SCORES.name)], len(names)
    )
    if predicted is not None:
        pooled[SEGMENTER_MASK.key] = predicted
    scored = {what: _scores_json(scores, names) for what, scores in pooled.items()}
    trained = [{"training": read_training_facts(run.store, record.uri)} for record in ledger.records(SEGMENTER.name)]
    stages = {name: asdict(summary) for name, summary in summaries(ledger, all_names()).items()}
    return {**scored, **(trained[0] if trained else {}), "stages": stages}


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
