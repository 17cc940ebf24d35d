import pytest
from support.plain_reports import plain_facts
from support.plain_runs import photo, write_artifact
from support.report_pages import parsed, section

from clipes.tasks.report.html_page import page
from clipes.tasks.report.sections import to_check
from clipes.tasks.report.sections.to_check import to_check_section
from clipes.tasks.stages.masks import MASKS, MasksRow

PHOTOS = tuple(photo(name) for name in "abc")


@pytest.fixture
def facts(tmp_path):
    """Return the facts of a run with three masks of 100 px, two of which are suspicious."""
    pixels = {"a": (50, 50), "b": (20, 80), "c": (100, 0)}
    rows = [
        MasksRow(image_id=name, class_ids=(1,), class_pixels=counts, confidence_histogram=(*(0,) * 255, 100))
        for name, counts in pixels.items()
    ]
    return plain_facts(tmp_path, write_artifact(str(tmp_path), MASKS, rows), photos=PHOTOS)


def test_the_section_counts_the_reasons(facts):
    found = to_check_section(facts)
    assert (found.photos, found.masks) == (2, 3)
    assert found.groups == {"much foreground": 1, "hardly any foreground": 1, "a label without a pixel": 1}


def test_the_page_lists_the_photos_with_their_reasons_the_most_suspicious_first(facts):
    listed = parsed(page(facts)).all("li", having="data-suspect")
    assert [item.attributes["data-suspect"] for item in listed] == ["c", "b"]
    assert "No pixel of the mask has the label cat." in listed[0].text
    assert "80.0% of the pixels are foreground, more than 60%." in listed[1].text


def test_the_list_is_cut_off_but_the_counts_are_not(facts, monkeypatch):
    monkeypatch.setattr(to_check, "LISTED", 1)
    found = to_check_section(facts)
    assert [each.image_id for each in found.listed] == ["c"]
    assert found.photos == 2
    assert "1 most suspicious photos and the reasons" in parsed(page(facts)).text


def test_a_run_without_photos_to_check_says_so(tmp_path):
    row = MasksRow(image_id="a", class_ids=(1,), class_pixels=(50, 50), confidence_histogram=(*(0,) * 255, 100))
    facts = plain_facts(tmp_path, write_artifact(str(tmp_path), MASKS, [row]), photos=PHOTOS)
    part = section(parsed(page(facts)), "to-check")
    assert "0 of 1 masks show a sign of an error" in part.text
    assert part.all("li") == part.all("details") == []


def test_without_masks_the_page_has_no_section(tmp_path):
    facts = plain_facts(tmp_path, photos=PHOTOS)
    assert to_check_section(facts) is None
    assert section(parsed(page(facts)), "to-check") is None
