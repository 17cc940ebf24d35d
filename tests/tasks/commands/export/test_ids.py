import json

import cv2
import numpy as np
import pytest
from PIL import Image
from support.exported_runs import write_masks_run


def test_opencv_reads_class_ids(odd_run, tmp_path):
    exported = odd_run.export("ids", tmp_path)

    assert exported.written == len(odd_run.masks)
    for image_id, ids in odd_run.masks.items():
        path = tmp_path / "class_ids" / f"{image_id}.png"
        for flag in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED):
            read = cv2.imread(str(path), flag)
            assert read.dtype == np.uint8
            assert (read == ids).all(), image_id
        with Image.open(path) as image:
            assert image.mode == "L"
            assert (np.array(image) == ids).all()


def test_254_classes_have_254_ids(tmp_path):
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    run = write_masks_run(tmp_path, {"all": ids}, tuple(f"class {number}" for number in range(1, 255)))
    run.export("ids", tmp_path / "out")
    assert (cv2.imread(str(tmp_path / "out" / "class_ids" / "all.png"), cv2.IMREAD_UNCHANGED) == ids).all()
    classes = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [each["id"] for each in classes] == list(range(256))
    assert classes[254]["name"] == "class 254"


@pytest.mark.parametrize("format_name", ["voc", "ids"])
def test_confidence_maps_and_photos_are_written_on_request(odd_run, tmp_path, format_name):
    odd_run.export(format_name, tmp_path, confidence=True, photos=True)
    for image_id, photo in odd_run.photos.items():
        confidence = cv2.imread(str(tmp_path / "confidence" / f"{image_id}.png"), cv2.IMREAD_UNCHANGED)
        assert (confidence == odd_run.confidence[image_id]).all()
        with open(photo.uri, "rb") as original:  # noqa: PTH123
            assert (tmp_path / "images" / f"{image_id}.png").read_bytes() == original.read()


def test_without_a_threshold_no_pixel_is_ignored(odd_run, tmp_path):
    exported = odd_run.export("ids", tmp_path, ignore_below=0)
    assert exported.ignored == 0
    assert (cv2.imread(str(tmp_path / "class_ids" / "ignored.png"), cv2.IMREAD_UNCHANGED) == 1).all()


def test_ignored_pixels_are_counted(odd_run, tmp_path):
    exported = odd_run.export("ids", tmp_path)
    assert exported.pixels == sum(ids.size for ids in odd_run.masks.values())
    assert exported.ignored == sum((ids == 255).sum() for ids in odd_run.masks.values()) > 0
