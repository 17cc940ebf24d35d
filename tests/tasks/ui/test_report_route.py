"""Which files the server sends; tests/flows/test_server.py asks a real server for them."""

import json

import pytest

from clipes.tasks.ui.report_route import find_file


@pytest.fixture
def report(tmp_path):
    """Return the path of the report of the run `demo`, which has a file with further photos."""
    folder = tmp_path / "runs" / "demo"
    (folder / "photos").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"name": "demo"}))
    (folder / "report.html").write_text("<p>")
    (folder / "metrics.json").write_text("{}")
    (folder / "photos" / "photos-0001.js").write_text("clipesPhotos()")
    (tmp_path / "runs" / "report.html").write_text("of no run")
    return folder / "report.html"


@pytest.mark.parametrize("file", ["report.html", "photos/photos-0001.js"])
def test_a_report_and_its_further_photos_are_sent(report, file):
    assert find_file(str(report), file) == report.parent / file


@pytest.mark.parametrize(
    "file",
    ["run.json", "metrics.json", "../report.html", "photos/photos-0002.js", "../demo/report.html", "", "/etc/passwd"],
)
def test_other_files_are_not_sent(report, file):
    assert find_file(str(report), file) is None


def test_only_the_report_of_a_run_is_sent(report):
    assert find_file(None, "report.html") is None
    assert find_file(str(report.parent / "metrics.json"), "report.html") is None
    assert find_file(str(report.parents[1] / "report.html"), "report.html") is None
    (report.parent / "run.json").write_text('{"name": "other"}')
    assert find_file(str(report), "report.html") is None
    (report.parent / "run.json").write_text("[]")
    assert find_file(str(report), "report.html") is None


def test_a_link_out_of_the_folder_of_the_run_is_not_followed(report, tmp_path):
    (tmp_path / "secret.html").write_text("secret")
    report.unlink()
    report.symlink_to(tmp_path / "secret.html")
    assert find_file(str(report), "report.html") is None
