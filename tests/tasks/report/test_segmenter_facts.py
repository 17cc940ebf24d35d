"""The segmenter in report and UI: its section, its scores next to those of the masks, and notes if it is missing."""

import re
from dataclasses import replace

import pytest
from support.report_pages import cards, groups, notes, picture, section, titles
from support.report_runs import report_of, write_run_files

from clipes.tasks.report import ui_pages
from clipes.tasks.report.facts import gather
from clipes.tasks.report.ui_pages import gallery_page, score_rows, training_page
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import StageError


@pytest.fixture(scope="module")
def trained_report(scenes_trained):
    return report_of(write_run_files(scenes_trained))


@pytest.fixture(scope="module")
def trained_facts(scenes_trained, trained_report):
    store, name = scenes_trained.run.config.store, scenes_trained.run.config.name
    status = read_run(store, name)
    return gather(status, RunArtifacts(RunFiles(store, name), status.shards))


def test_the_curve_is_drawn(trained_report):
    curve = section(trained_report, "segmenter").one("div", having="curve")
    assert titles(curve) == [
        "Loss and learning rate",
        "Labelled pixels kept by the confidence threshold",
        "mIoU on evaluation photos",
    ]
    drawn = [picture(image) for image in curve.all("img")]
    assert len({image.tobytes() for image in drawn}) == 3
    assert all(len(image.getcolors(1 << 20)) > 50 for image in drawn)


def test_facts_about_the_training_are_those_of_metrics_json(trained_report, trained_facts):
    training = trained_facts.status.metrics["training"]
    part = section(trained_report, "segmenter")
    terms, values = part.all("dt"), part.all("dd")
    told = {term.text: value.text for term, value in zip(terms, values, strict=True)}
    assert told["Iterations"] == "40"
    assert told["Speed"] == f"{training['iterations_per_second']:.2f} iterations/s"
    assert told["Precision"] == "fp32, 1 process on cpu"
    assert told["Pixels kept"] == f"{training['kept_fraction']:.1%} of the labelled pixels"
    assert told["Loss"] == "confidence-guided, mu 0.95"
    assert told["Trained on"] == "9 photos"


def test_the_score_of_the_segmenter_is_marked_as_from_other_photos(trained_report, trained_facts):
    miou = trained_facts.status.metrics["segmenter"]["miou"]
    rows = {row.attributes["data-score"]: row for row in trained_report.all("tr", having="data-score")}
    assert rows["segmenter"].values()[0] == miou
    assert "–" in rows["segmenter"].text  # no gain, because the baseline is scored on other photos
    assert "scored on different photos, the evaluation photos" in section(trained_report, "scores").text
    assert f"The segmenter that was trained on these masks reaches {miou:.1%} mIoU on 9 evaluation photos." in notes(
        trained_report
    )


def test_classes_have_the_iou_of_masks_and_segmenter(trained_report, trained_facts):
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
    assert titles(cards(part)["scene_00"]) == ["Photo", "Prediction", "Truth"]


def test_the_note_on_an_unscored_segmenter_says_how_to_score_it(scenes_trained, trained_facts):
    """Pretend that the config names no evaluation photos."""
    config = trained_facts.config
    unscored = replace(trained_facts, config=config.model_copy(update={"evaluation": type(config.evaluation)()}))
    assert "Set evaluation.split to a split that it was not trained on" in ui_pages.report_page(unscored, "r").replace(
        "\\", ""
    )


def test_a_run_without_training_has_a_note(tiny, reported):
    tiny.add("a")
    page = reported(until="mask_scores")
    assert "The run trains no segmenter, because train.enabled is false." in notes(page)
    assert section(page, "segmenter") is None


def test_a_failed_training_is_reported_and_has_no_section(scenes_trained, pool):
    failure = StageError("segmenter shard 0: the loss is nan at iteration 3")
    unfinished = replace(
        scenes_trained,
        records={key: each for key, each in scenes_trained.records.items() if key[0] != "segmenter_scores"},
    )
    page = report_of(write_run_files(unfinished, failure, without={("segmenter", 0)}))
    assert "segmenter: 1 of 1 shard failed (shard numbers: 0)." in notes(page)
    assert "the loss is nan at iteration 3" in notes(page)
    assert section(page, "segmenter") is None


def test_the_ui_shows_curve_scores_and_predictions(trained_facts):
    page = training_page(trained_facts)
    assert len(re.findall(r"!\[[^]]*\]\(data:image/webp;base64,", page)) == 3
    assert len(re.findall(r"^\| !\[[^|]*\|$", page, re.MULTILINE)) == 3, "two plots share a row"
    assert "| Iterations | 40 |" in page
    assert len(page) < ui_pages.LARGEST_GALLERY / 2
    mean = score_rows(trained_facts)[0]
    assert mean["segmenter"] == round(trained_facts.status.metrics["segmenter"]["miou"], 4)
    gallery = gallery_page(trained_facts)
    headings = [line for line in gallery.splitlines() if line.startswith("### ")]
    names = [heading.split()[1] for heading in headings]
    assert names[:4] == ["Best", "Worst", "Other", "Photos"]  # the segmenter's groups, then those of the masks
    assert set(names[4:]) <= {"Best", "Worst", "Other"}
    assert gallery.count("![Prediction]") == 3
    assert len(gallery) <= ui_pages.LARGEST_GALLERY


def test_without_scores_of_masks_classes_are_ranked_by_the_segmenter(trained_facts):
    """Pretend that only the evaluation photos have true masks."""
    metrics = {what: each for what, each in trained_facts.status.metrics.items() if what != "pseudo_mask"}
    alone = replace(trained_facts, status=replace(trained_facts.status, metrics=metrics))
    mean, *classes = score_rows(alone)
    assert mean["photos"] == metrics["segmenter"]["images"]
    found = [row["segmenter"] for row in classes]
    assert found == sorted(found, reverse=True)
