import json
import re

import numpy as np
import pytest
from PIL import Image
from support.report_pages import cards, groups, notes, section, titles
from support.report_runs import report_of, write_run_files

from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import StageError


def truth_of(tiny, name, ids):
    """Write a true mask and return the name of its file."""
    path = tiny.folder / f"{name}-truth.png"
    Image.fromarray(np.asarray(ids, np.uint8)).save(path)
    return path.name


@pytest.fixture(scope="module")
def scenes_report(scenes_made):
    return report_of(write_run_files(scenes_made))


def test_scores_of_metrics_json_are_compared_with_the_baseline(scenes_report, scenes_made):
    metrics = read_run(scenes_made.run.config.store, "scenes").metrics
    rows = {row.attributes["data-score"]: row for row in scenes_report.all("tr", having="data-score")}
    assert list(rows) == ["centre_box", "initial_cam", "refined_cam", "pseudo_mask"]
    for what, row in rows.items():
        scores = metrics[what]
        assert row.values() == [scores[name] for name in ("miou", "pixel_accuracy", "mean_accuracy")]
        assert f"{100 * scores['miou']:.1f}%" in row.text
        assert row.all("td")[-1].text == "9"
    gain = 100 * (metrics["pseudo_mask"]["miou"] - metrics["centre_box"]["miou"])
    assert f"{gain:+.1f}".replace("-", "−") in rows["pseudo_mask"].text
    assert f"{abs(gain):.1f} points {'above' if gain > 0 else 'below'} the baseline" in notes(scenes_report)


def test_classes_with_a_true_mask_are_listed_by_their_iou(scenes_report, scenes_made):
    ious = read_run(scenes_made.run.config.store, "scenes").metrics["pseudo_mask"]["class_iou"]
    lines = {line.attributes["data-class"]: line for line in section(scenes_report, "classes").all("li")}
    expected = {name: iou for name, iou in ious.items() if iou is not None}
    assert {name: line.values() for name, line in lines.items()} == {name: [iou] for name, iou in expected.items()}
    found = [line.values()[0] for line in lines.values()]
    assert found == sorted(found, reverse=True)
    assert "No photo is labelled with" in notes(scenes_report)
    assert "aeroplane" in notes(scenes_report)


def test_the_confidence_histogram_covers_the_pixels_of_all_masks(scenes_report, scenes_made):
    counts = sum(np.array(row["confidence_histogram"]) for row in scenes_made.rows("masks").values())
    part = section(scenes_report, "confidence")
    assert part.values() == [pytest.approx(counts[243:].sum() / counts.sum())]
    assert f"{counts.sum():,} pixels have a confidence of at least 0.95" in part.text
    bars = part.one("ol").all("li")
    shares = [float(re.search(r": ([0-9.]+)%", bar.attributes["title"]).group(1)) for bar in bars]
    assert sum(shares) == pytest.approx(100, abs=0.01 * len(bars))
    assert shares[-1] == pytest.approx(100 * counts[243:].sum() / counts.sum(), abs=0.006)
    assert counts[: int(float(bars[0].attributes["title"].split()[1][:-1]) * 255)].sum() == 0


def test_stages_are_listed_with_shards_rows_and_times(scenes_report, scenes_made):
    stages = read_run(scenes_made.run.config.store, "scenes").metrics["stages"]
    rows = {row.attributes["data-stage"]: row for row in scenes_report.all("tr", having="data-stage")}
    assert list(rows) == list(stages) == ["manifest", "texts", "cams", "masks", "mask_scores"]
    cams = [cell.text for cell in rows["cams"].all("td")]
    assert cams[:4] == ["2 completed", "9", "9", "0"]
    assert cams[5] == f"{stages['cams']['busy_seconds']:.1f} s"


def test_the_header_describes_the_run(scenes_report, scenes_made):
    assert scenes_report.one("h1").text == "scenes completed"
    assert scenes_report.one("title").text == "scenes: completed"
    terms, values = scenes_report.all("dt"), scenes_report.all("dd")
    told = {term.text: value.text for term, value in zip(terms, values, strict=True)}
    assert told["Model digest"] == scenes_made.run.inputs.model_digest
    assert told["Template"] == "a clean origami {}."
    assert told["Photos"] == "9"
    assert "ViT-B-16-quickgelu" in told["CLIP"]
    assert scenes_made.run.keys["masks"] in section(scenes_report, "config").text


def suspects_of(page):
    """Return the image ids in the list of photos to check."""
    return [item.attributes["data-suspect"] for item in page.all("li", having="data-suspect")]


def test_a_card_shows_a_photo_from_labels_to_mask(scenes_report):
    assert len(cards(scenes_report)) == 9  # all nine photos are shown
    shown, suspects = groups(scenes_report), suspects_of(scenes_report)
    assert list(shown) == ["to_check", "best", "worst", "random"]
    assert shown["to_check"] == suspects
    assert len(shown["best"]) == len(shown["worst"]) == (9 - len(suspects)) // 3
    card = cards(scenes_report)["scene_00"]
    assert titles(card)[:4] == ["Photo", "Pseudo mask", "Confidence", "Truth"]
    car, bus = sorted((part for part in card.all("div", having="cam")), key=lambda part: part.text, reverse=True)
    assert titles(car) == titles(bus) == ["Initial CAM", "Refined CAM"]
    assert "a clean origami car." in car.one("q").text
    assert "a clean origami bus." in bus.one("q").text


def test_the_best_masks_are_better_than_the_worst(scenes_report):
    mious = {name: card.values()[0] for name, card in cards(scenes_report).items()}
    by_group = {group: [mious[name] for name in found] for group, found in groups(scenes_report).items()}
    others = sorted(miou for group, found in by_group.items() if group != "to_check" for miou in found)
    assert by_group["worst"] == others[: len(by_group["worst"])]
    assert by_group["best"] == others[::-1][: len(by_group["best"])]


def test_without_true_masks_the_most_and_the_least_confident_photos_are_shown(tiny, reported):
    for name in "abcdef":
        tiny.add(name)
    page = reported(report={"check": {"max_foreground": 1, "min_foreground": 0, "max_crf_change": 1}})
    assert "No photo has a true mask, so nothing is scored" in notes(page)
    assert section(page, "scores") is None
    assert section(page, "classes") is None
    assert {group: len(found) for group, found in groups(page).items()} == {"best": 2, "worst": 2, "random": 2}
    assert "Least confident" in section(page, "gallery").text
    sure = {name: card.values()[0] for name, card in cards(page).items()}
    assert all(0 < share <= 1 for share in sure.values())
    assert "Truth" not in titles(page)


def test_the_number_of_scored_photos_is_noted_if_not_all_are(tiny, reported):
    tiny.add("a", truth=truth_of(tiny, "a", np.full((48, 64), 8)))
    tiny.add("b")
    page = reported()
    assert "Scored photos: 1 of 2. The others have no usable true mask, or no pseudo mask." in notes(page)
    assert list(cards(page)) == ["a"]


def test_a_run_that_stops_early_notes_what_is_missing(tiny, reported):
    tiny.add("a", "cat;dog")
    page = reported(until="cams")
    assert "asked to stop after cams, so these stages did not run: masks, mask_scores" in notes(page)
    assert "has no pseudo masks" in notes(page)
    assert "true mask" not in notes(page)  # the run was not asked for scores
    assert section(page, "confidence") is None
    assert groups(page) == {"random": ["a"]}
    assert titles(cards(page)["a"]) == ["Photo", *["Initial CAM", "Refined CAM"] * 2]


def test_a_run_that_only_listed_photos_has_a_report(tiny, reported):
    tiny.add("a")
    page = reported(until="manifest")
    assert "asked to stop after manifest" in notes(page)
    assert section(page, "gallery") is None


def test_the_note_on_a_failed_run_says_why_where_and_how_to_resume(tiny, reported):
    for name in "abcdef":
        tiny.add(name)
    failure = StageError("masks shard 0: no\nmasks shard 2: <why>")
    page = reported(failure=failure, without={("masks", 0)}, execution={"shards": 3})
    assert page.one("h1").text == "tiny failed"
    assert [line.text for line in page.all("code", having="quoted")] == ["masks shard 0: no", "masks shard 2: <why>"]
    assert "repeat the command that started the run" in notes(page)
    assert "masks: 1 of 3 shards failed (shard numbers: 0)." in notes(page)
    (row,) = [row for row in page.all("tr", having="data-stage") if row.attributes["data-stage"] == "masks"]
    assert row.all("td")[0].text == "2 completed 1 failed"
    assert 0 < len(cards(page)) < 6


def test_rejects_are_counted_by_reason_and_listed(tiny, reported):
    lost = [tiny.add(name) for name in ("a", "b")]
    tiny.add("c")
    page = reported(lost=lost)
    assert "2 photos without a result: the reasons are below." in notes(page)
    part = section(page, "rejects")
    assert [group.text for group in part.all("li", having="data-reject")] == ["2 missing in cams"]
    listed = [line.text for line in part.one("ul", having="rejects").all("li")]
    assert sorted(listed) == [f"{path.stem} cams, missing {path} does not exist" for path in lost]
    assert list(cards(page)) == ["c"]


def test_only_the_first_of_many_rejects_are_listed(tiny, reported):
    lost = [tiny.add(f"photo {number:02d}") for number in range(51)]
    part = section(reported(until="cams", lost=lost), "rejects")
    assert part.one("li", having="data-reject").text == "51 missing in cams"
    assert len(part.one("ul", having="rejects").all("li")) == 50
    assert "The first 50 are listed here; rejects.parquet has all of them." in part.text


def test_the_note_on_too_many_rejects_says_what_to_do(tiny, reported):
    lost = tiny.add("a")
    failure = StageError("cams: 1 of 1 photos failed\nRepair these photos and rerun with --retry-errors.")
    said = notes(reported(failure=failure, lost=[lost]))
    assert "cams: 1 of 1 photos failed" in said
    assert "Repair these photos and rerun with --retry-errors." in said


def test_a_run_whose_photos_were_all_rejected_has_a_note(tiny, reported):
    tiny.label("gone", "cat")
    page = reported()
    assert "No photo could be used" in notes(page)
    assert section(page, "rejects").one("li", having="data-reject").text == "1 missing in manifest"
    assert section(page, "gallery") is None


def test_a_photo_deleted_after_the_run_is_noted_on_its_card(tiny, reported):
    path = tiny.add("a", truth=truth_of(tiny, "a", np.full((48, 64), 8)))
    page = reported(lost_then=[path, tiny.folder / "a-truth.png"])
    card = cards(page)["a"]
    assert [note.text for note in card.all("p", having="note")] == [
        f"the photo cannot be shown: {path} does not exist",
        f"the true mask cannot be shown: {tiny.folder / 'a-truth.png'} does not exist",
    ]
    assert titles(card) == ["Photo", "Pseudo mask", "Confidence", "Initial CAM", "Refined CAM"]


def test_a_photo_without_labels_has_no_cams(tiny, reported):
    tiny.add("a", "")
    tiny.add("z")  # a data set needs a label
    page = reported()
    assert "Photos without labels: 1. They have no CAMs, and their masks are all background." in notes(page)
    assert titles(cards(page)["a"]) == ["Photo", "Pseudo mask", "Confidence"]
    assert "no labels" in cards(page)["a"].text


def test_four_of_many_classes_are_shown_and_the_others_counted(tiny, reported):
    tiny.add("a", "cat;dog;cow;sheep;horse;bird")
    card = cards(reported(until="cams"))["a"]
    assert len(card.all("div", having="cam")) == 4
    assert "Number of classes whose CAMs are not shown: 2." in card.text


def test_a_gallery_of_no_photos_is_left_out(tiny, reported):
    tiny.add("a")
    page = reported(until="masks", report={"gallery": 0})
    assert section(page, "gallery") is None
    assert page.all("img") == []


def test_html_in_names_and_error_reasons_is_escaped(tiny, reported):
    hostile = "<img src=x onerror=alert(1)> & \"quoted\" 'too' {{ 7 * 7 }}"
    vocabulary = tiny.folder / "own.yaml"
    classes = [{"name": hostile, "words": "<script>cat</script>"}, {"name": "dog"}]
    vocabulary.write_text(json.dumps({"classes": classes, "background_words": ["sky"]}))
    tiny.add(hostile, "dog", truth=truth_of(tiny, "t", np.ones((48, 64))))
    tiny.label(hostile, hostile, "t-truth.png")
    tiny.add("lost <b>", "dog").unlink()

    page = reported(dataset={"classes": str(vocabulary)}, prompts={"template": "a <i>{}</i>."})

    (card,) = cards(page)
    assert card == hostile
    assert cards(page)[card].one("h4").text == hostile
    assert hostile in section(page, "classes").text
    assert cards(page)[card].one("q").text == "a <i><script>cat</script></i>."
    assert "lost <b>" in section(page, "rejects").text
    assert len(page.all("script")) == 1  # the script of the page
    assert all("style" in each.attributes for each in page.all("b"))  # clipes uses <b> only for notches
