"""Data sets whose true masks disagree with the labels, scored inside this process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from support.input_cases.photos import GOOD
from support.input_cases.seen import Seen
from support.prepared import prepare_run
from support.small_runs import make_all_shards_with

from clipes.tasks.execution.inline_runner import InlineRunner
from clipes.tasks.runs.metrics_json import run_metrics
from clipes_core.config.run import parse_config

PHOTOS = 4
DOG, IGNORED = np.uint8(12), np.uint8(255)


def _ids(*objects: int) -> np.ndarray:
    """Return a true mask whose objects are columns, each with one id."""
    ids = np.zeros((48, 64), np.uint8)
    for place, class_id in enumerate(objects):
        ids[10:40, 8 + 16 * place : 20 + 16 * place] = class_id
    return ids


# (group, input) -> the true mask of each photo, whose label is dog
TRUTHS: dict[tuple[str, str], Callable[[], np.ndarray]] = {
    ("Truth", "true masks with the values 0 and 255"): lambda: _ids(255),
    ("Truth", "true masks whose ids are off by one"): lambda: _ids(DOG + 1),
    ("Truth", "true masks with the ids of another vocabulary"): lambda: _ids(1, 3),
    ("Truth", "true masks with classes that are not among the labels"): lambda: _ids(DOG, 15),
    ("Truth", "true masks with 255 in place of the background"): lambda: np.where(_ids(DOG) == DOG, DOG, IGNORED),
}


def seen_of_truths(folder: Path, truth: np.ndarray) -> Seen:
    """Score the pseudo masks of a few photos that all have the same true mask, and return the warnings."""
    rows = ["image,labels,truth"]
    for place in range(PHOTOS):
        GOOD(folder / f"{place}.jpg")
        Image.fromarray(truth).save(folder / f"{place}.png")
        rows.append(f"{place}.jpg,dog,{place}.png")
    (folder / "list.csv").write_text("\n".join(rows))
    config = parse_config(
        {
            "name": "truths",
            "store": str(folder / "store"),
            "dataset": {"format": "list", "root": str(folder), "split": str(folder / "list.csv")},
            "clip": {"model": "clipes-demo", "pretrained": "clipes-demo", "device": "cpu", "precision": "fp32"},
            "crf": {"enabled": False},
            "execution": {"shards": 1},
        }
    )
    run = prepare_run(config, "mask_scores")
    metrics = run_metrics(run, make_all_shards_with(InlineRunner(config), run))
    return Seen(message="\n".join(metrics.get("warnings", ())))
