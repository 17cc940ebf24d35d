import io

import pytest
from rich.console import Console

from clipes.flows.terminal_tables import print_metrics, print_status
from clipes.tasks.storage.run_status import RunStatus

COUNTS = {
    "images": 600,
    "shards": 1,
    "cached_shards": 0,
    "computed_shards": 1,
    "failed_shards": 0,
    "copied_rows": 0,
    "computed_rows": 600,
    "wall_seconds": 60.0,
    "busy_seconds": 50.0,
}
SCORES = {"miou": 0.5, "pixel_accuracy": 0.75, "mean_accuracy": 0.625, "background_power": None, "images": 6}
TRAINING = {
    "iterations": 600,
    "iterations_per_second": 12.5,
    "precision": "bf16",
    "processes": 2,
    "device": "cuda",
    "kept_fraction": 0.8125,
    "best_miou": 0.51,
    "best_iteration": 540,
}


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200, highlight=False)


def lines(console):
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_a_training_is_summarised_after_its_counts_and_scores(console):
    print_metrics(console, {"stages": {"segmenter": COUNTS}, "segmenter": SCORES, "training": TRAINING})
    assert lines(console)[1:] == [
        "segmenter (iterations) 1 0 0 600 0 600 10.00 60.0 50.0",
        "score mIoU pixel accuracy mean accuracy power photos",
        "Segmenter (evaluation) 0.5000 0.7500 0.6250 6",
        "segmenter trained for 600 iterations at 12.50 iterations/s in bf16 by 2 processes on cuda, the loss used "
        "81.2% of the labelled pixels, best mIoU during training 0.5100 at iteration 540",
    ]


def test_a_training_resumed_after_its_last_iteration_has_no_speed(console):
    training = {**TRAINING, "iterations_per_second": None, "processes": 1, "best_miou": None}
    print_metrics(console, {"stages": {}, "training": training})
    assert lines(console)[-1] == (
        "segmenter trained for 600 iterations in bf16 by 1 process on cuda, the loss used 81.2% of the labelled pixels"
    )


def test_the_status_of_a_running_training_shows_iterations(console):
    run = {"name": "demo", "state": "running", "started": "now", "photos": 9, "error": None}
    shards = [
        {"stage": "masks", "shard": 0, "state": "completed", "images": 9},
        {"stage": "segmenter", "shard": 0, "state": "running", "images": 240},
        {"stage": "segmenter_scores", "shard": 0, "state": "pending", "images": 0},
    ]
    print_status(console, RunStatus(run, shards, None, 0, interrupted=False))
    assert lines(console) == [
        "run demo: running, started now, 9 photos",
        "stage shards pending running cached completed failed rows",
        "masks 1 0 0 0 1 0 9",
        "segmenter (iterations) 1 0 1 0 0 0 240",
        "segmenter_scores 1 1 0 0 0 0 0",
    ]
