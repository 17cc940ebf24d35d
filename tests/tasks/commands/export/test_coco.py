import json

import numpy as np
from pycocotools.coco import COCO
from support.exported_runs import write_masks_run


def test_pycocotools_reads_the_masks(odd_run, tmp_path):
    odd_run.export("coco", tmp_path)

    read = COCO(str(tmp_path / "annotations.json"))
    names = {category["id"]: category["name"] for category in read.loadCats(read.getCatIds())}
    assert names == dict(enumerate(odd_run.names, start=1))
    images = {image["file_name"]: image for image in read.loadImgs(read.getImgIds())}
    assert images.keys() == {f"{image_id}.png" for image_id in odd_run.masks}
    for image_id, expected in odd_run.masks.items():
        image = images[f"{image_id}.png"]
        assert (image["height"], image["width"]) == expected.shape
        assert image["coco_url"] == odd_run.photos[image_id].uri
        ids = np.zeros(expected.shape, int)
        annotations = read.loadAnns(read.getAnnIds(imgIds=image["id"]))
        for each in annotations:
            mask = read.annToMask(each).astype(bool)
            assert each["area"] == mask.sum()
            assert each["iscrowd"] == 0
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert each["bbox"] == [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
            ids[mask] += each["category_id"]
        if "ignored" in image:
            ids[read.annToMask({"image_id": image["id"], "segmentation": image["ignored"]}).astype(bool)] += 255
        assert (ids == expected).all(), image_id
        assert len(annotations) == len(set(np.unique(expected)) - {0, 255})


def test_ids_are_unique(odd_run, tmp_path):
    odd_run.export("coco", tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    for part in ("images", "annotations"):
        assert [each["id"] for each in content[part]] == list(range(1, len(content[part]) + 1))


def test_a_run_without_any_object_is_valid(tmp_path):
    run = write_masks_run(tmp_path, {"a": np.zeros((3, 4), np.uint8)})
    run.export("coco", tmp_path / "out")
    read = COCO(str(tmp_path / "out" / "annotations.json"))
    assert (len(read.imgs), len(read.anns)) == (1, 0)


def test_photos_are_copied_on_request(odd_run, tmp_path):
    odd_run.export("coco", tmp_path, photos=True)
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert all((tmp_path / "images" / image["file_name"]).is_file() for image in content["images"])
