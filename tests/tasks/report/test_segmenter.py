"""The segmenter in report and UI: its section, its scores beside the masks', what is said where it is missing."""

import re
from dataclasses import replace

import pytest
from support.report_pages import cards, groups, notes, picture, section, titles
from support.report_runs import report_of, write_down

from clipes.tasks.report import ui_pages
from clipes.tasks.report.artifacts import RunArtifacts
from clipes.tasks.report.facts import gather
from clipes.tasks.report.ui_pages import gallery_page, score_rows, training_page
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import StageError


@pytest.fixture(scope="module")
def trained_report(golden_trained):
    return report_of(write_down(golden_trained))


@pytest.fixture(scope="module")
def trained_facts(golden_trained, trained_report):
    store, name = golden_trained.run.config.store, golden_trained.run.config.name
    status = read_run(store, name)
    return gather(status, RunArtifacts(RunFiles(store, name), status.shards))


def test_the_curve_is_drawn(trained_report):
    curve = section(trained_report, "segmenter").one("div", having="curve")
    assert titles(curve) == [
        "Loss and learning rate",
        "Labelled pixels that are sure enough to count",
        "mIoU on photos of the evaluation",
    ]
    drawn = [picture(image) for image in curve.all("img")]
    assert len({image.tobytes() for image in drawn}) == 3
    assert all(len(image.getcolors(1 << 20)) > 50 for image in drawn)


def test_the_training_is_told_as_in_metrics_json(trained_report, trained_facts):
    training = trained_facts.status.metrics["training"]
    part = section(trained_report, "segmenter")
    told = dict(zip(*([each.text for each in part.all(tag)] for tag in ("dt", "dd")), strict=True))
    assert told["Iterations"] == "40"
    assert told["Speed"] == f"{training['iterations_per_second']:.2f} iterations/s"
    assert told["Precision"] == "fp32, 1 process on cpu"
    assert told["Pixels kept"] == f"{training['kept_fraction']:.1%} of the labelled"
    assert told["Loss"] == "confidence-guided, mu 0.95"
    assert told["Trained on"] == "9 photos"


def test_scores_say_that_they_are_of_other_photos(trained_report, trained_facts):
    miou = trained_facts.status.metrics["segmenter"]["miou"]
    rows = {row.attributes["data-score"]: row for row in trained_report.all("tr", having="data-score")}
    assert rows["segmenter"].values()[0] == miou
    assert "–" in rows["segmenter"].text  # no gain over a baseline on other photos
    assert "the photos of the evaluation, which are others" in section(trained_report, "scores").text
    assert f"The segmenter trained on them reaches {miou:.1%} on 9 photos of the evaluation." in notes(trained_report)


def test_classes_have_the_segmenters_iou_beside_the_masks(trained_report, trained_facts):
    metrics = trained_facts.status.metrics
    for line in section(trained_report, "classes").all("li"):
        name = line.attributes["data-class"]
        assert line.values() == [metrics[what]["class_iou"][name] for what in ("pseudo_mask", "segmenter")]


def test_the_best_predictions_are_better_than_the_worst(trained_report):
    part = section(trained_report, "segmenter")
    mious = {name: card.values()[0] for name, card in cards(part).items()}
    by_group = {group: [mious[name] for name in found] for group, found in groups(part).items()}
    assert {group: len(found) for group, found in by_group.items()} == {"best": 3, "worst": 3, "random": 3}
    assert by_group["best"] == sorted(mious.values(), reverse=True)[:3]
    assert by_group["worst"] == sorted(mious.values())[:3]
    assert titles(cards(part)["2007_000063"]) == ["Photo", "Prediction", "Truth"]


def test_a_segmenter_without_evaluation_says_how_to_score_it(golden_trained, trained_facts):
    """The same run as if nobody had named photos to score it on."""
    config = trained_facts.config
    unscored = replace(trained_facts, config=config.model_copy(update={"evaluation": type(config.evaluation)()}))
    assert "name photos that it was not trained on, in evaluation.split" in ui_pages.report_page(unscored, "r").replace(
        "\\", ""
    )


def test_a_run_without_training_says_so(tiny, reported):
    tiny.add("a")
    page = reported(until="mask_scores")
    assert "It trains no segmenter: train.enabled is false." in notes(page)
    assert section(page, "segmenter") is None


def test_a_training_that_failed_is_told_and_has_no_section(golden_trained, pool):
    failure = StageError("segmenter shard 0: the loss is nan at iteration 3")
    unfinished = replace(
        golden_trained,
        records={key: each for key, each in golden_trained.records.items() if key[0] != "segmenter_scores"},
    )
    page = report_of(write_down(unfinished, failure, without={("segmenter", 0)}))
    assert "segmenter: 1 of 1 shard failed (0)." in notes(page)
    assert "the loss is nan at iteration 3" in notes(page)
    assert section(page, "segmenter") is None


def test_the_ui_shows_curve_scores_and_predictions(trained_facts):
    page = training_page(trained_facts)
    assert len(re.findall(r"!\[[^]]*\]\(data:image/webp;base64,", page)) == 3
    assert len(re.findall(r"^\| !\[[^|]*\|$", page, re.MULTILINE)) == 3, "one is beside another, and cut off"
    assert "| Iterations | 40 |" in page
    assert len(page) < ui_pages.LARGEST_GALLERY / 2
    mean, *_ = score_rows(trained_facts)
    assert mean["segmenter"] == round(trained_facts.status.metrics["segmenter"]["miou"], 4)
    gallery = gallery_page(trained_facts)
    headings = [line for line in gallery.splitlines() if line.startswith("### ")]
    assert [heading.split()[1].strip(",") for heading in headings] == [
        *("Best", "Worst", "Other"),
        *("Best", "Worst", "Others"),
    ]
    assert gallery.count("![Prediction]") == 3
    assert len(gallery) <= ui_pages.LARGEST_GALLERY


def test_what_was_scored_by_the_segmenter_alone_is_ranked_by_it(trained_facts):
    """As where the training photos have no truth, and those of the evaluation have."""
    metrics = {what: each for what, each in trained_facts.status.metrics.items() if what != "pseudo_mask"}
    alone = replace(trained_facts, status=replace(trained_facts.status, metrics=metrics))
    mean, *classes = score_rows(alone)
    assert mean["photos"] == metrics["segmenter"]["images"]
    found = [row["segmenter"] for row in classes]
    assert found == sorted(found, reverse=True)
