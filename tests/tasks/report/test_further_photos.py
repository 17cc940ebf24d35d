import json
from pathlib import Path

import numpy as np
import pytest
from support.plain_reports import mask_row, plain_facts, write_photo
from support.plain_runs import write_artifact
from support.prepared import prepare_run
from support.report_pages import cards, parsed
from support.report_runs import write_run_files
from support.small_runs import make_run, run_files

from clipes.tasks.report.further_photos import PHOTOS_PER_FILE, further_files
from clipes.tasks.report.report_file import report_run
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_history import archive, further_photos, remove_archive

ANY_FOREGROUND = {"max_foreground": 0.0}  # all photos with a foreground are photos to check


@pytest.fixture
def rerun(tiny, pool):
    """Return a function that runs the photos and returns the folder of the run."""

    def rerun(**report):
        made = make_run(
            prepare_run(tiny.config(report={"gallery": 3, "check": ANY_FOREGROUND, **report}), "masks"), pool
        )
        return Path(run_files(write_run_files(made, start=report_run)).folder)

    return rerun


def mask_of(image_id):
    """Return the row of a mask of one class."""
    return mask_row(image_id, np.ones((4, 6), np.uint8), np.full((4, 6), 200, np.uint8))


def photos_in(path):
    """Return the cards that a file hands to the page."""
    text = path.read_text()
    assert text.startswith("clipesPhotos(")
    assert text.endswith(");\n")
    return cards(parsed(json.loads(text.removeprefix("clipesPhotos(").removesuffix(");\n"))))


def test_photos_beyond_the_gallery_lie_next_to_the_page(tiny, rerun):
    for name in "abcdef":
        tiny.add(name)
    folder = rerun(further=2)
    page = parsed((folder / "report.html").read_text())
    found = photos_in(folder / "report" / "photos-0001.js")
    assert (len(cards(page)), len(found)) == (3, 2)
    assert not cards(page).keys() & found.keys()
    assert page.one("div", having="further").attributes["data-files"] == "report/photos-0001.js"
    assert all(image.attributes["src"].startswith("data:") for card in found.values() for image in card.all("img"))


def test_a_run_whose_photos_are_all_in_the_gallery_has_no_further_files(tiny, rerun):
    tiny.add("a")
    folder = rerun()
    assert not (folder / "report").exists()
    assert parsed((folder / "report.html").read_text()).all("div", having="further") == []


def test_further_photos_follow_their_page_to_the_history(tiny, rerun):
    for name in "abcdef":
        tiny.add(name)
    first = (rerun(further=2) / "report" / "photos-0001.js").read_bytes()
    folder = rerun(further=0)  # other settings, so the files of the first run are kept
    assert not (folder / "report").exists()
    (kept,) = folder.glob("history/*/report/photos-0001.js")
    assert kept.read_bytes() == first


def test_an_archive_with_further_photos_is_removed_completely(tmp_path):
    files = RunFiles(str(tmp_path), "plain")
    for name in ("report.html", "report/photos-0001.js"):
        files.write_bytes(name, b"x")
    folder = archive(files, "2026-01-01T00:00:00", ("report.html",))
    assert not (tmp_path / "runs" / "plain" / "report").exists()
    assert further_photos(files, folder) == ("report/photos-0001.js",)
    remove_archive(files, folder, ("report.html",))
    assert not (tmp_path / "runs" / "plain" / "history").exists()


def test_many_further_photos_are_divided_into_files(tmp_path):
    photos = [write_photo(tmp_path / "photos", f"p{number}", (1,)) for number in range(PHOTOS_PER_FILE + 5)]
    rows = [mask_of(photo.image_id) for photo in photos]
    record = write_artifact(str(tmp_path / "store"), MASKS, rows)
    settings = {"report": {"gallery": 3, "further": 1000, "check": ANY_FOREGROUND}}
    facts = plain_facts(tmp_path / "store", record, photos=tuple(photos), settings=settings)
    found = further_files(facts)
    assert found.files == ("report/photos-0001.js", "report/photos-0002.js")
    assert list(found.photos) == list(facts.picks.further)
    assert list(found.photos.values()) == [found.files[0]] * PHOTOS_PER_FILE + [found.files[1]] * 2


def test_without_a_gallery_the_page_offers_all_photos_to_check_as_further_photos(tiny, rerun):
    tiny.add("a")
    page = parsed((rerun(gallery=0) / "report.html").read_text())
    assert cards(page) == {}
    assert page.one("div", having="further").attributes["data-files"] == "report/photos-0001.js"
