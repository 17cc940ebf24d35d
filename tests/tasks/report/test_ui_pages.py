"""The pages of a run in the Prefect UI; tests/flows/test_ui.py checks that a server receives them."""

import base64
import io
import re
from dataclasses import replace

import pytest
from PIL import Image
from support.prepared import prepare_run
from support.report_runs import write_run_files
from support.small_runs import make_run

from clipes.tasks.report import ui_pages
from clipes.tasks.report.facts import gather
from clipes.tasks.report.ui_pages import gallery_page, report_page, score_rows
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run

SCORES = ("centre_box", "initial_cam", "refined_cam", "pseudo_mask")
PICTURE = re.compile(r"!\[([^\]]*)\]\(data:image/webp;base64,([A-Za-z0-9+/=]+)\)")


def facts_of(run):
    store, name = run.config.store, run.config.name
    status = read_run(store, name)
    return gather(status, RunArtifacts(RunFiles(store, name), status.shards))


@pytest.fixture(scope="module")
def scenes_facts(scenes_made):
    return facts_of(write_run_files(scenes_made))


def pictures(page):
    return [(title, Image.open(io.BytesIO(base64.b64decode(data)))) for title, data in PICTURE.findall(page)]


def test_scores_are_those_of_metrics_json(scenes_facts):
    metrics = scenes_facts.status.metrics
    mean, *classes = score_rows(scenes_facts)
    assert mean == {
        "class": "mIoU",
        **{what: pytest.approx(metrics[what]["miou"], abs=1e-4) for what in SCORES},
        "photos": 9,
    }
    found = {row["class"]: row["pseudo_mask"] for row in classes}
    ious = metrics["pseudo_mask"]["class_iou"]
    assert found == {name: pytest.approx(iou, abs=1e-4) for name, iou in ious.items() if iou is not None}
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_gallery_shows_pictures_of_best_worst_and_other_photos(scenes_facts):
    page = gallery_page(scenes_facts)
    assert [line for line in page.splitlines() if line.startswith("### Best") or line.startswith("### Worst")] == [
        "### Best pseudo masks, by the mIoU of each photo",
        "### Worst pseudo masks, by the mIoU of each photo",
    ]
    picks = scenes_facts.picks
    shown = [*picks.to_check[:2], *picks.best[:2], *picks.worst[:2], *picks.random[:2]]
    assert re.findall(r"^\*\*(.*?)\*\*", page, re.MULTILINE) == [name.replace("_", r"\_") for name in shown]
    found = pictures(page)
    assert [title for title, _ in found[:4]] == ["Photo", "Pseudo mask", "Confidence", "Truth"]
    assert len(found) == 6 * len(shown)
    assert all(max(picture.size) <= 320 for _, picture in found)
    assert len(page) <= ui_pages.LARGEST_GALLERY


def test_a_gallery_that_is_too_large_is_shortened(scenes_facts, monkeypatch):
    whole = gallery_page(scenes_facts)
    monkeypatch.setattr(ui_pages, "LARGEST_GALLERY", len(whole) // 2)
    page = gallery_page(scenes_facts)
    assert 0 < len(page) <= len(whole) // 2
    assert whole.startswith(page)


def test_without_picks_there_is_no_gallery(scenes_facts):
    nothing = replace(scenes_facts.picks, best=(), worst=(), random=(), to_check=())
    assert gallery_page(replace(scenes_facts, picks=nothing)) == ""


def test_web_addresses_are_links_and_other_uris_are_code(scenes_facts):
    report = "https://host/runs/scenes/report.html"
    assert f"| report | [{report}](<{report}>) |" in report_page(scenes_facts, report)
    page = report_page(scenes_facts, "s3://bucket/runs/scenes/report.html")
    assert "| report | `s3://bucket/runs/scenes/report.html` |" in page
    assert "| files of the run | `s3://bucket/runs/scenes` |" in page
    assert f"| store | `{scenes_facts.config.store}` |" in page


def test_the_report_opens_only_if_the_server_shows_it(scenes_facts):
    assert "[Open the report](/clipes/reports/1/report.html)" in report_page(
        scenes_facts, "/runs/scenes/report.html", "/clipes/reports/1/report.html"
    )
    assert "Open the report" not in report_page(scenes_facts, "/runs/scenes/report.html")


def test_markdown_in_names_and_error_reasons_is_escaped(tiny, pool):
    tiny.add("<b>a|b_c_`")
    (tiny.folder / "broken`|.png").write_bytes(b"no picture")
    tiny.label("broken`|", "cat")
    facts = facts_of(write_run_files(make_run(prepare_run(tiny.config(), "cams"), pool)))
    assert r"**\<b\>a\|b\_c\_\`**" in gallery_page(facts)
    page = report_page(facts, "/a`b/runs/tiny/report.html")
    assert "``/a`b/runs/tiny/report.html``" in page
    assert "- 1 photo without a result" in page
    assert "\n- 1 undecodable in cams\n" in page


def test_a_run_without_scores_has_no_table(tiny, pool):
    tiny.add("a")
    facts = facts_of(write_run_files(make_run(prepare_run(tiny.config(), "cams"), pool)))
    assert score_rows(facts) == []
    assert "A reproducible random choice" in gallery_page(facts)
