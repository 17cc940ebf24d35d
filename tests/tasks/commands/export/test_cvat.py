import os
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from support.exported_runs import write_masks_run

from clipes_core.errors import PhotoError


def test_datumaro_s_reader_of_cvat_reads_the_masks(odd_run, tmp_path):
    if not os.environ.get("CI"):
        pytest.importorskip("datumaro", reason="run make setup, which installs datumaro")
    from datumaro import Dataset

    odd_run.export("cvat", tmp_path, photos=True)  # datumaro looks the photos up

    read = Dataset.import_from(str(tmp_path), "cvat")
    labels = [label.name for label in read.categories()[next(iter(read.categories()))].items]
    assert labels == [*odd_run.names, "ignore_"]
    items = {item.id: item for item in read}
    assert items.keys() == odd_run.masks.keys()
    for image_id, expected in odd_run.masks.items():
        ids = np.zeros(expected.shape, int)
        for annotation in items[image_id].annotations:
            class_id = 255 if labels[annotation.label] == "ignore_" else annotation.label + 1
            ids[annotation.image.astype(bool)] += class_id
        assert (ids == expected).all(), image_id


def decoded(image):
    """Decode masks as CVAT does: runs of a rectangle, row by row, that begin with pixels outside the mask."""
    ids = np.zeros((int(image.get("height")), int(image.get("width"))), object)
    ids[:] = ""
    for mask in image.iter("mask"):
        left, top, width, height = (int(mask.get(name)) for name in ("left", "top", "width", "height"))
        runs = [int(run) for run in mask.get("rle").split(",")]
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        assert pixels[0].any()
        assert pixels[-1].any()
        assert pixels[:, 0].any()
        assert pixels[:, -1].any()
        ids[top : top + height, left : left + width][pixels] += mask.get("label")
    return ids


def test_each_pixel_has_the_label_of_its_class(odd_run, tmp_path):
    odd_run.export("cvat", tmp_path)

    root = ElementTree.parse(tmp_path / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    images = {image.get("name"): image for image in root.iter("image")}
    assert images.keys() == {f"{image_id}.png" for image_id in odd_run.masks}
    names = np.array(["", *odd_run.names, *[""] * 250, "ignore_"], object)
    for image_id, expected in odd_run.masks.items():
        assert (decoded(images[f"{image_id}.png"]) == names[expected]).all(), image_id
    colours = [label.findtext("color") for label in root.iter("label")]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(colours)) == len(odd_run.names) + 1


def test_an_id_that_xml_cannot_contain_is_refused(tmp_path):
    run = write_masks_run(tmp_path, {"a\x07b": np.ones((2, 3), np.uint8)})
    with pytest.raises(PhotoError, match=r"^'a\\x07b\.png' contains a control character, which XML cannot contain"):
        run.export("cvat", tmp_path / "out")
    assert not (tmp_path / "out" / "annotations.xml").exists()
