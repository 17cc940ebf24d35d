"""The report that `clipes run` and `clipes report` write."""

import json

import numpy as np
import pytest
from PIL import Image
from support.commands import settings
from support.report_pages import cards, check_stands_alone, groups, notes, parsed, section, titles
from support.voc_scenes import labels_of

FAST = ("--set", "crf.iter_max=1")


def page_of(clipes, name="voc12"):
    html = (clipes.folder / "clipes-store" / "runs" / name / "report.html").read_text()
    page = parsed(html)
    check_stands_alone(page)
    return page


def test_a_run_prints_its_scores_and_writes_its_report(clipes, scene_arguments, scene_photos):
    done = clipes(*scene_arguments, *FAST, "--set", "report.gallery=6")
    assert done.returncode == 0, done.stderr

    uri = clipes.folder / "clipes-store" / "runs" / "voc12" / "report.html"
    assert done.stdout.splitlines()[-1] == f"report: {uri}"
    metrics = json.loads(uri.with_name("metrics.json").read_text())
    assert f"Centre box (baseline) {metrics['centre_box']['miou']:.4f}" in done.stdout
    page = page_of(clipes)
    for row in page.all("tr", having="data-score"):
        assert row.values()[0] == metrics[row.attributes["data-score"]]["miou"]
    assert len(page.all("tr", having="data-score")) == 4
    shown = {group: len(found) for group, found in groups(page).items()}
    assert shown == {"to_check": 3, "best": 1, "worst": 1, "random": 1}
    for image_id, card in cards(page).items():
        truth = np.array(Image.open(scene_photos / "SegmentationClass" / f"{image_id}.png"))
        cams = ["Initial CAM", "Refined CAM"] * len(labels_of(truth))
        assert titles(card) == ["Photo", "Pseudo mask", "Confidence", "Truth", *cams]

    first = uri.read_text()
    uri.unlink()
    again = clipes("report", "voc12")
    assert (again.returncode, again.stdout) == (0, "report: ./clipes-store/runs/voc12/report.html\n")
    assert uri.read_text() == first


def test_a_failed_run_prints_the_path_of_its_report(clipes, scene_arguments, scene_photos):
    folder = clipes.folder / "photos"
    folder.mkdir()
    for image_id in ("scene_00", "scene_02"):
        data = (scene_photos / "JPEGImages" / f"{image_id}.jpg").read_bytes()
        (folder / f"{image_id}.jpg").write_bytes(data if image_id == "scene_00" else data[:500])
    (clipes.folder / "two.csv").write_text("image,labels\nscene_00.jpg,bus;car\nscene_02.jpg,bird\n")

    listed = settings("dataset.format=list", "dataset.split=two.csv", f"dataset.root={folder}")
    done = clipes(*scene_arguments, *listed, *settings("execution.tolerated_failures=0"))

    assert done.returncode == 1
    assert f"clipes: report: {clipes.folder}/clipes-store/runs/voc12/report.html" in done.stderr
    page = page_of(clipes)
    assert page.one("h1").text == "voc12 failed"
    assert "more than 0, the limit of execution.max_failure_rate=0.01" in notes(page)
    assert "repeat the command that started the run" in notes(page)
    (reject,) = section(page, "rejects").one("ul", having="rejects").all("li")
    assert reject.text.startswith("scene_02 cams, undecodable ")


@pytest.mark.parametrize("name", ["nobody", "<b>"])
def test_the_report_of_an_unknown_run_exits_with_2_and_one_line(clipes, name):
    done = clipes("report", name)
    assert done.returncode == 2
    assert done.stderr == (
        f"clipes: no run {name} in ./clipes-store, which does not exist: name the store of the run with --store\n"
    )
