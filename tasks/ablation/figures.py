"""The figures of an ablation: scores, the sharpness of a template, and the costs of stages.

A figure is named by a text:
- `initial_cam`, `refined_cam`, `pseudo_mask`, `segmenter` or `centre_box`: mIoU, in [0, 1];
- one of these and the name of a class, such as `initial_cam.boat`: IoU of the class, in [0, 1];
- `sharpness`: sharpness of the template, at least 0; lower is better;
- a stage and a cost, such as `cams.seconds`: time of a worker for a row [s]; `cams.memory` and `cams.gpu_memory`: peak
  memory of a worker, and of a worker's tensors on its GPU [MiB].
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from clipes.tasks.stages.mask_scores import MASK_SCORES
from clipes.tasks.stages.registry import run_names
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.stages.texts import TEXTS
from clipes_core.evaluation.scored import SCORED

SHARPNESS = "sharpness"
COSTS = {  # cost of a stage -> its entry in metrics.json
    "seconds": "seconds_per_row",
    "memory": "peak_memory_mib",
    "gpu_memory": "peak_gpu_memory_mib",
}
NEEDED = {scored.key: SEGMENTER_SCORES.name if scored.on_evaluation else MASK_SCORES.name for scored in SCORED}


@dataclass(frozen=True)
class Figure:
    """What a figure is of. A mIoU has a score, the IoU of a class a score and a class, a cost a cost, sharpness none.

    Attributes:
        stage: last stage that a run needs for the figure; of a cost, the stage that has this cost.
        score: key of the score in metrics.json; None if it is no score.
        of_class: the class; None if it is not of a class.
        cost: key of COSTS; None if it is no cost.
    """

    stage: str
    score: str | None = None
    of_class: str | None = None
    cost: str | None = None


def parse_figure(figure: str) -> Figure | None:
    """Return what a figure is of; None if there is no such figure.

    `segmenter` is a score and also a stage: `segmenter.seconds` is the cost of the stage.
    """
    first, dot, second = figure.partition(".")
    if figure == SHARPNESS:
        return Figure(TEXTS.name)
    if first in run_names()[1:] and second in COSTS:
        return Figure(first, cost=second)
    if first in NEEDED and (second or not dot):
        return Figure(NEEDED[first], score=first, of_class=second or None)
    return None


def stage_of(figure: str) -> str | None:
    """Return the last stage that a run needs for a figure; None if there is no such figure."""
    parsed = parse_figure(figure)
    return parsed.stage if parsed else None


def last_stage(figures: Iterable[str]) -> str:
    """Return the last stage that a run needs for figures that `check_figure` accepts."""
    return max(filter(None, map(stage_of, figures)), key=run_names().index)


def check_figure(figure: str, until: str | None) -> str | None:
    """Return why a grid may not show a figure; None if it may.

    Args:
        figure: name of the figure.
        until: last stage of the runs; None if the figures decide it.
    """
    needed = stage_of(figure)
    if needed is None:
        known = [*NEEDED, SHARPNESS, *(f"{stage}.{cost}" for stage in run_names()[1:] for cost in COSTS)]
        similar = get_close_matches(figure, known, n=1)
        examples = f"{', '.join(NEEDED)}, {next(iter(NEEDED))}.CLASS, {SHARPNESS}, STAGE.seconds and STAGE.memory"
        return f"unknown figure; {f'did you mean {similar[0]}?' if similar else f'there are {examples}'}"
    if until in run_names() and run_names().index(needed) > run_names().index(until):
        return f"the runs end with {until}, but the figure needs the stage {needed}; delete until, or name {needed}"
    return None


def class_of(figure: str) -> str | None:
    """Return the class of a figure; None if it is not of a class."""
    parsed = parse_figure(figure)
    return parsed.of_class if parsed else None


def value_of(metrics: Mapping[str, Any], figure: str) -> float | None:
    """Return a figure of a run; None if the run does not have it.

    Args:
        metrics: content of the run's metrics.json, and possibly the entry `sharpness`.
        figure: name of the figure.
    """
    parsed = parse_figure(figure)
    if parsed is None:
        return None
    if parsed.cost:
        return metrics.get("stages", {}).get(parsed.stage, {}).get(COSTS[parsed.cost])
    if parsed.score:
        scores = metrics.get(parsed.score, {})
        return scores.get("class_iou", {}).get(parsed.of_class) if parsed.of_class else scores.get("miou")
    return metrics.get(SHARPNESS)
