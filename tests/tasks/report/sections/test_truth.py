from dataclasses import replace

import numpy as np
import pytest
from support.plain_reports import plain_facts
from support.plain_runs import photo
from support.report_pages import parsed, section

from clipes.tasks.report.html_page import page
from clipes.tasks.report.sections import truth
from clipes.tasks.report.sections.truth import calibration_section, confusions_section, spread_section
from clipes.tasks.report.truth_facts import TruthFacts

NOTHING = np.zeros(256, np.int64)


def levels(**counts):
    found = NOTHING.copy()
    for name, count in counts.items():
        found[int(name.removeprefix("at_"))] = count
    return found


@pytest.fixture
def facts(tmp_path):
    """Return the facts of a run with 100 pixels of background, cat and dog."""
    compared = TruthFacts(
        confusion=np.array([[60, 10, 0], [5, 15, 0], [10, 0, 0]]),
        mious=np.array([0.1, 0.24, 0.25, 0.9, 1.0]),
        calibrated=5,
        counted=levels(at_255=90, at_0=10),
        right=levels(at_255=72, at_0=3),
    )
    return replace(plain_facts(tmp_path, photos=(photo("a"),)), truth=compared)


def test_the_calibration_states_the_accuracy_of_confident_pixels(facts):
    found = calibration_section(facts)
    assert [(each.low, each.accuracy) for each in found.ranges] == [(0.0, 0.3), (0.99, 0.8)]
    assert (found.kept, found.kept_accuracy) == (0.9, 0.8)
    assert found.error == pytest.approx(0.1 * 0.3 + 0.9 * 0.2)
    assert (found.photos, found.pixels) == (5, 100)


def test_without_confident_pixels_there_is_no_accuracy_of_them(facts):
    compared = replace(facts.truth, counted=levels(at_0=10), right=levels(at_0=3))
    assert calibration_section(replace(facts, truth=compared)).kept_accuracy is None
    assert section(parsed(page(replace(facts, truth=compared))), "calibration") is not None


def test_confusions_have_precision_recall_and_a_row_of_shares_for_each_class(facts):
    background, cat, dog = confusions_section(facts).classes
    assert (background.precision, background.recall) == (0.8, pytest.approx(6 / 7))
    assert (cat.precision, cat.recall, cat.truth, cat.cells) == (0.6, 0.75, 0.2, (0.25, 0.75, 0.0))
    assert (dog.precision, dog.recall, dog.cells) == (None, 0.0, (1.0, 0.0, 0.0))


def test_many_classes_have_no_table_but_a_list_of_confusions(facts, monkeypatch):
    monkeypatch.setattr(truth, "IN_TABLE", 2)
    found = confusions_section(facts)
    assert not found.has_table
    assert {each.cells for each in found.classes} == {()}
    assert [(each.truth, each.prediction, each.pixels) for each in found.largest] == [(0, 1, 10), (2, 0, 10), (1, 0, 5)]
    shown = section(parsed(page(facts)), "confusions")
    assert not shown.all("td", having="heat")
    assert "cat predicted as background" in shown.text


def test_classes_that_occur_nowhere_are_left_out(facts):
    compared = replace(facts.truth, confusion=np.array([[60, 0, 0], [5, 15, 0], [0, 0, 0]]))
    assert [each.id for each in confusions_section(replace(facts, truth=compared)).classes] == [0, 1]


def test_the_histogram_counts_photos_by_miou(facts):
    found = spread_section(facts)
    assert {place: photos for place, photos in enumerate(found.bars) if photos} == {2: 1, 4: 1, 5: 1, 18: 1, 19: 1}
    assert (found.photos, found.median, found.low, found.below) == (5, 0.25, 0.25, 2)


def test_the_page_shows_all_three_sections(facts):
    shown = parsed(page(facts))
    assert section(shown, "calibration").values() == [0.3, 0.8]
    heat = [cell.text.strip() for cell in section(shown, "confusions").all("td", having="heat")]
    assert heat == ["86", "14", "", "25", "75", "", "100", "", ""]
    counts = [int(bar.attributes["data-photos"]) for bar in section(shown, "spread").all("li")]
    assert sum(counts) == 5


def test_without_true_masks_the_page_has_none_of_them(tmp_path):
    facts = plain_facts(tmp_path, photos=(photo("a"),))
    assert (calibration_section(facts), confusions_section(facts), spread_section(facts)) == (None, None, None)
    shown = parsed(page(facts))
    assert [section(shown, name) for name in ("calibration", "confusions", "spread")] == [None] * 3
