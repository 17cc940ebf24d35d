import random
from dataclasses import replace

import numpy as np
import pytest
from support.hostile_texts import hostile_texts
from support.plain_reports import class_scores, plain_facts
from support.plain_runs import photo
from support.report_pages import parsed, section

from clipes.tasks.report.html_page import CONFIDENCE_BINS, page


@pytest.fixture
def facts(tmp_path):
    return plain_facts(tmp_path, photos=(photo("a"), photo("b")))


def shown(facts, **run):
    return parsed(page(replace(facts, status=replace(facts.status, run={**facts.status.run, **run}))))


def head_values(page):
    terms, values = page.all("dt"), page.all("dd")
    return {term.text: value.text for term, value in zip(terms, values, strict=True)}


@pytest.mark.parametrize(
    ("finished", "duration"),
    [
        ("2026-01-02T03:04:59+00:00", "took 59 s"),
        ("2026-01-02T03:06:05+00:00", "took 2 min 5 s"),
        ("2026-01-03T04:08:30+00:00", "took 25 h 4 min"),
        (None, "not finished"),
    ],
)
def test_the_head_has_the_start_in_utc_and_the_duration(facts, finished, duration):
    head = shown(facts, started="2026-01-02T03:04:00+00:00", finished=finished).one("header")
    assert f"started 2026-01-02 03:04 UTC · {duration}" in head.text


@pytest.mark.parametrize(
    ("template", "configured", "expected"),
    [
        ("a {}.", "a {}.", "a {}."),
        (["a {}.", "the {}."], ["a {}.", "the {}."], "a {}. · the {}."),
        ("the {}.", "auto", "the {}. (the best of the candidates)"),
        (None, "auto", "not chosen yet"),
        (None, "a {}.", None),  # a run that ranks templates
    ],
)
def test_the_template_is_shown_with_how_it_was_chosen(tmp_path, template, configured, expected):
    facts = plain_facts(tmp_path, settings={"prompts": {"template": configured}}, template=template)
    assert head_values(shown(facts)).get("Template") == expected


def test_the_head_describes_data_set_and_settings(facts, tmp_path):
    found = head_values(shown(facts, rejected=3))
    assert (found["Photos"], found["Data set"]) == ("2, and 3 rejected when listed", "voc, train_aug")
    assert (found["Background words"], found["CAMs"]) == ("1", "softmax, refinement: caa")
    assert found["Masks"] == "dense CRF, 10 iterations, confidence from crf"
    settings = {"prompts": {"background": False}, "cam": {"softmax": False, "refine": "none"}}
    settings |= {"crf": {"enabled": False}, "confidence": {"source": "cam"}, "dataset": {"format": "scenes", "seed": 7}}
    other = head_values(shown(plain_facts(tmp_path / "other", settings=settings)))
    assert (other["Photos"], other["Data set"]) == ("0", "scenes, seed 7")
    assert (other["Background words"], other["CAMs"]) == ("none", "no softmax, refinement: none")
    assert other["Masks"] == "no CRF, confidence from cam"


def test_scores_are_shown_in_percent_and_gains_in_points(facts):
    metrics = {"centre_box": class_scores(0.424), "pseudo_mask": class_scores(0.4), "segmenter": class_scores(0.5)}
    page = shown(replace(facts, status=replace(facts.status, metrics=metrics)))
    rows = {row.attributes["data-score"]: row for row in page.all("tr", having="data-score")}
    cells = {
        score: {cell.attributes["data-label"]: cell.text for cell in row.all("td", having="data-label")}
        for score, row in rows.items()
    }
    assert [(score, cell["mIoU"], cell["over baseline"]) for score, cell in cells.items()] == [
        ("centre_box", "42.4%", "–"),
        ("pseudo_mask", "40.0%", "−2.4"),
        ("segmenter", "50.0%", "–"),  # not scored on the photos of the baseline
    ]


def test_confidence_is_shown_from_the_lowest_nonempty_bin(facts):
    confidence = np.zeros(256, np.int64)
    confidence[[153, 255]] = 1, 3  # 0.6 and 1
    part = section(shown(replace(facts, confidence=confidence)), "confidence")
    bars = [bar.attributes["title"] for bar in part.one("ol").all("li")]
    assert len(bars) == CONFIDENCE_BINS - 12  # from 0.6 to 1 in steps of 0.05
    assert bars[0].endswith(": 25.00%")
    assert bars[-1].endswith(": 75.00%")
    assert part.values() == [0.75]


def test_a_run_without_results_has_no_sections_for_them(facts):
    page = shown(facts)
    assert [part.attributes["id"] for part in page.all("section")] == ["summary", "stages", "config"]
    assert "Model digest" in head_values(page)


@pytest.mark.parametrize("seed", range(20))
def test_no_text_becomes_a_part_of_the_page(facts, seed):
    host, template = hostile_texts(random.Random(seed), 2)
    tags = [element.tag for element in shown(facts, host="here", template="a {}.").all()]
    assert [element.tag for element in shown(facts, host=host, template=template).all()] == tags
