"""From a folder of a user's own photos to masks and a segmenter, with the weights of the demo."""

import json
import shutil
from xml.etree import ElementTree

import pytest
from support.commands import settings
from support.own_photos import write_photos

DEMO_CLIP = settings("clip.model=clipes-demo", "clip.pretrained=clipes-demo")
FEW = 6


def metrics_of(clipes, name):
    return json.loads((clipes.folder / "clipes-store" / "runs" / name / "metrics.json").read_text())


def test_mistakes_end_with_exit_code_2_and_one_line(clipes):
    write_photos(clipes.folder / "pets", ["a.jpg"])
    for arguments, message in {
        ("gone",): "FOLDER: no folder",
        ("pets", "--layout", "yolo8"): "--layout",
        ("pets", "--to", "pets"): "is in the folder of the photos",
    }.items():
        done = clipes("init", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_photos_without_labels_cannot_run_before_the_user_names_classes(clipes):
    write_photos(clipes.folder / "pets", ["a.jpg"])
    assert clipes("init", "pets").returncode == 0
    done = clipes("run", "pets.yaml")
    assert done.returncode == 2
    assert "pets-classes.yaml: got no classes, but at least one is needed" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_of_real_photos_and_a_spreadsheet_becomes_masks_and_a_segmenter(clipes, real_data):
    (clipes.folder / "holiday").mkdir()
    lines = ["Datei;Klassen"]
    image_ids = (real_data / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:FEW]
    for image_id in image_ids:
        shutil.copy(real_data / "JPEGImages" / f"{image_id}.jpg", clipes.folder / "holiday")
        root = ElementTree.parse(real_data / "Annotations" / f"{image_id}.xml").getroot()
        names = dict.fromkeys(each.findtext("name") for each in root.findall("object"))
        lines.append(f'{image_id}.jpg;"{", ".join(names)}"')
    (clipes.folder / "holiday" / "labels.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))

    found = clipes("init", "holiday")
    assert found.returncode == 0, found.stderr
    assert f"photos   {FEW} of {FEW}" in found.stdout
    masks = clipes("run", "holiday.yaml", "--until", "masks", *DEMO_CLIP, timeout=400)
    assert masks.returncode == 0, masks.stderr
    assert metrics_of(clipes, "holiday")["stages"]["masks"]["computed_rows"] == FEW
    exported = clipes("export", "holiday", "--to", "masks")
    assert exported.returncode == 0, exported.stderr
    assert len(list((clipes.folder / "masks").rglob("*.png"))) == FEW

    trained = clipes("run", "holiday.yaml", *DEMO_CLIP, *settings("train.iterations=30"), timeout=400)
    assert trained.returncode == 0, trained.stderr
    assert metrics_of(clipes, "holiday")["training"]["iterations"] == 30
    predicted = clipes("predict", "holiday", f"holiday/{image_ids[0]}.jpg", "--to", "predicted")
    assert predicted.returncode == 0, predicted.stderr
