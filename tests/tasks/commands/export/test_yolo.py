import cv2
import numpy as np
import pytest
import supervision
import yaml
from support.exported_runs import odd_masks, write_masks_run


def lines_of(path):
    return [line.split() for line in path.read_text().splitlines()]


def drawn(lines, shape, to_pixels):
    """Draw polygons as YOLO's trainers do: coordinates become pixels, and cv2.fillPoly fills the polygons."""
    ids = np.zeros(shape, np.uint8)
    for class_id, *values in lines:
        points = np.array(values, float).reshape(-1, 2) * shape[::-1]
        cv2.fillPoly(ids, [to_pixels(points).astype(np.int32)], int(class_id) + 1)
    return ids


@pytest.mark.parametrize("to_pixels", [np.trunc, np.round])
def test_polygons_reproduce_every_pixel(odd_run, tmp_path, to_pixels):
    odd_run.export("yolo", tmp_path)

    for image_id, expected in odd_run.masks.items():
        lines = lines_of(tmp_path / "labels" / f"{image_id}.txt")
        assert all(len(line) >= 7 and len(line) % 2 == 1 for line in lines)
        assert all(0 <= float(value) <= 1 for line in lines for value in line[1:])
        assert (drawn(lines, expected.shape, to_pixels) == np.where(expected == 255, 0, expected)).all(), image_id
    assert (tmp_path / "labels" / "background.txt").read_text() == ""


@pytest.mark.parametrize("size_hw", [(3000, 7), (11, 6007)])
def test_coordinates_have_enough_digits_for_large_photos(tmp_path, size_hw):
    ids = (np.random.default_rng(1).random(size_hw) < 0.7).astype(np.uint8)
    write_masks_run(tmp_path, {"a": ids}).export("yolo", tmp_path / "out")
    lines = lines_of(tmp_path / "out" / "labels" / "a.txt")
    for to_pixels in (np.trunc, np.round):
        assert (drawn(lines, size_hw, to_pixels) == ids).all()


def test_supervision_reads_photos_and_masks(tmp_path):
    masks = {name: ids for name, ids in odd_masks().items() if "/" not in name}  # it reads no folders in folders
    run = write_masks_run(tmp_path, masks)
    run.export("yolo", tmp_path / "out", photos=True)

    read = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "out" / "images"),
        str(tmp_path / "out" / "labels"),
        str(tmp_path / "out" / "data.yaml"),
        force_masks=True,
    )
    assert tuple(read.classes) == run.names
    found = {}
    for path, photo, detections in read:
        ids = np.zeros(photo.shape[:2], np.uint8)
        for mask, class_id in zip(detections.mask if len(detections) else (), detections.class_id, strict=False):
            ids[mask] = class_id + 1
        found[path.rpartition("/")[2].removesuffix(".png")] = ids
    assert found.keys() == masks.keys()
    for image_id, expected in masks.items():
        assert (found[image_id] == np.where(expected == 255, 0, expected)).all(), image_id


def test_the_names_of_classes_survive_and_missing_photos_are_announced(odd_run, tmp_path):
    assert "export again with --photos" in odd_run.export("yolo", tmp_path).note
    assert odd_run.export("yolo", tmp_path, photos=True).note == ""
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert data == {"train": "images", "val": "images", "names": dict(enumerate(odd_run.names))}
