"""A training whose validation photos or true masks change afterwards: its mIoU belongs to the old ones."""

import os
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from support.report_pages import notes, section, titles
from support.report_runs import report_of, store_and_name, write_run_files
from support.small_runs import make_run

from clipes.flows.terminal.result_tables import print_metrics
from clipes.tasks.runs.metrics_json import NO_VALIDATION, OTHER_VALIDATION
from clipes.tasks.storage.layout import checkpoints_uri, weights_uri
from clipes.tasks.storage.run_status import read_run

MIOU_PLOT = "mIoU on evaluation photos"


@pytest.fixture(scope="module", autouse=True)
def trained(small, pool):
    """Train and validate the segmenter."""
    return make_run(small.prepared(), pool)


@pytest.fixture(autouse=True)
def _restored(small):
    """After the test, restore the list and the true mask of the validation, with their times."""
    kept = {path: (path.read_bytes(), path.stat()) for path in (small.truth, small.photos.folder / "seen.csv")}
    yield
    for path, (content, facts) in kept.items():
        path.write_bytes(content)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def change_true_mask(small):
    mask = Image.new("L", (64, 48), 8)
    mask.paste(0, (0, 0, 64, 24))
    mask.save(small.truth)
    return {}


def change_labels(small):
    (small.photos.folder / "seen.csv").write_text("image,labels,truth\na.png,cat;dog,seen.png\n")
    return {}


def add_photo(small):
    (small.photos.folder / "seen.csv").write_text("image,labels,truth\na.png,cat,seen.png\ne.png,cat,seen.png\n")
    return {}


def remove_evaluation(_small):
    return {"evaluation": {"split": None}}


def shown(made):
    """Write the files of a run; return its facts about the training, its warnings, its report and its output."""
    run = write_run_files(made)
    metrics = read_run(*store_and_name(run)).metrics
    console = Console(width=10_000)
    with console.capture() as captured:
        print_metrics(console, metrics)
    return metrics["training"], metrics.get("warnings", []), report_of(run), captured.get()


def test_the_miou_of_a_cached_training_is_shown_if_its_photos_are_unchanged(small, pool):
    made = make_run(small.prepared(), pool)
    training, warnings, page, output = shown(made)
    assert made.of("segmenter")[0].cached
    assert training["best_iteration"] in (21, 30)
    assert warnings == []
    assert f"best mIoU during training {training['best_miou']:.4f}" in output
    segmenter = section(page, "segmenter")
    assert f"Best mIoU during training {training['best_miou']:.1%}" in segmenter.text
    assert MIOU_PLOT in titles(segmenter.one("div", having="curve"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_true_mask, OTHER_VALIDATION),
        (change_labels, OTHER_VALIDATION),
        (add_photo, OTHER_VALIDATION),
        (remove_evaluation, NO_VALIDATION),
    ],
)
def test_the_miou_of_a_cached_training_is_not_shown_if_its_photos_have_changed(small, pool, change, reason):
    made = make_run(small.prepared(**change(small)), pool)
    training, warnings, page, output = shown(made)
    assert made.of("segmenter")[0].cached
    assert (training["best_miou"], training["best_iteration"]) == (None, None)
    assert warnings == [reason]
    assert reason in notes(page)
    assert reason in output
    assert "best mIoU during training" not in output
    segmenter = section(page, "segmenter")
    assert "Best mIoU" not in segmenter.text
    assert len(titles(segmenter.one("div", having="curve"))) == 2
    assert MIOU_PLOT not in segmenter.text


def test_a_resumed_training_does_not_mix_the_miou_of_different_photos(small, pool, capfd):
    seed = {"train": {"seed": 1}}
    uri = make_run(small.prepared(**seed), pool).of("segmenter")[0].uri
    (Path(checkpoints_uri(uri)) / "00000030.pt").unlink()
    Path(weights_uri(uri)).unlink()
    change_true_mask(small)
    made = make_run(small.prepared(**seed), pool)
    training, warnings, _, _ = shown(made)
    assert training["resumed_at"] == 25
    assert [row["iteration"] for row in made.run.store.read(uri).to_pylist() if row["miou"] is not None] == [30]
    assert training["best_iteration"] == 30
    assert warnings == []
    assert "the training curve loses the mIoU of the validations so far (1): the photos" in capfd.readouterr().err


def test_a_photo_whose_list_now_names_a_missing_true_mask_is_predicted_again(small, pool):
    listed = small.photos.folder / "seen.csv"
    found = []
    for truth in ("", "gone.png", ""):
        listed.write_text(f"image,labels,truth\na.png,cat,{truth}\n")
        made = make_run(small.prepared(until="segmenter_scores"), pool)
        found.append((made.of("segmenter_scores")[0].cached, made.rows("segmenter_scores")["a"]["error_kind"]))
    assert found == [(False, None), (False, "missing"), (True, None)]
