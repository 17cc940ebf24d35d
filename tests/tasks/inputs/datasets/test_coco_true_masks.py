"""The true masks of photos that are drawn from the outlines in annotation files of COCO."""

import json

import numpy as np
import pytest
from support.coco_files import CATEGORIES, read_coco

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.truth import listed_ids
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError
from clipes_core.vocabulary import Vocabulary


def outlined(*annotations: dict) -> str:
    images = [{"id": number, "file_name": f"{number}.jpg", "width": 8, "height": 6} for number in (1, 2)]
    listed = [{"id": place, "category_id": 7, **each} for place, each in enumerate(annotations)]
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    return json.dumps({"images": images, "annotations": listed, "categories": categories})


def square(image, size, **fields):
    return {"image_id": image, "segmentation": [[0, 0, size, 0, size, size, 0, size]], **fields}


def test_true_masks_are_drawn_from_outlines(folder, animals):
    crowd = {"image_id": 2, "segmentation": {"size": [6, 8], "counts": [40, 8]}, "iscrowd": 1, "note": "é"}
    document = outlined(square(1, 2, category_id=90), crowd, square(1, 4))
    folder.write({"annotations/instances_val.json": document, "val/1.jpg": "", "val/2.jpg": ""})

    first, second = read_coco(folder, animals, "val").photos

    ids = np.zeros((6, 8), int)
    ids[:4, :4] = 1
    ids[:2, :2] = 2
    assert listed_ids(first).tolist() == ids.tolist()
    assert listed_ids(second).tolist() == [[0] * 7 + [255]] * 4 + [[0] * 6 + [255] * 2] * 2
    assert first.truth_uri is None
    assert first.truth_fingerprint == first.annotations.fingerprint


def test_the_fingerprint_of_a_drawn_mask_changes_with_its_own_annotations_only(local, animals):
    def fingerprints(*annotations, vocabulary=animals):
        document = outlined(*annotations)
        local.write({"annotations/instances_val.json": document, "val/1.jpg": "", "val/2.jpg": ""})
        return [photo.truth_fingerprint for photo in read_coco(local, vocabulary, "val").photos]

    before = fingerprints(square(1, 2), square(2, 3))
    assert fingerprints(square(1, 2), square(2, 3)) == before
    assert fingerprints(square(1, 2), square(2, 4))[0] == before[0]
    assert fingerprints(square(1, 2), square(2, 4))[1] != before[1]
    assert fingerprints(square(1, 2, category_id=90), square(2, 3))[0] != before[0]
    others = Vocabulary(classes=animals.classes[::-1])
    assert set(fingerprints(square(1, 2), square(2, 3), vocabulary=others)).isdisjoint(before)


def test_the_true_masks_of_a_text_list_are_drawn_from_a_named_file(folder, animals):
    document = outlined(square(1, 2), square(2, 3, category_id=90)).replace(
        '"1.jpg"', '"COCO_val2014_000000000001.jpg"'
    )
    names = dict.fromkeys(["val2014/COCO_val2014_000000000001.jpg", "images/2.jpg", "images/3.jpg"], "")
    folder.write({"some.json": document, "list.txt": "000000000001 0\n2 1\n3 0\n", **names})

    first, second, third = read_coco(folder, animals, f"{folder.uri}/list.txt", truth=f"{folder.uri}/some.json").photos

    assert [int(listed_ids(photo).max()) for photo in (first, second)] == [1, 2]
    assert not third.has_truth
    direct = read_dataset(
        DatasetConfig(format="coco", root=folder.uri, split=f"{folder.uri}/some.json"), animals
    ).photos
    assert [photo.truth_fingerprint for photo in direct] == [first.truth_fingerprint, second.truth_fingerprint]


@pytest.mark.parametrize(
    ("line", "file_name"),
    [
        ("val2014/000000000001.jpg", "COCO_val2014_000000000001.jpg"),
        ("val2014/COCO_val2014_000000000001.jpg", "COCO_val2014_000000000001.jpg"),
        ("COCO_val2014_000000000001", "val2014/COCO_val2014_000000000001.jpg"),
        ("val2014/COCO_val2014_000000000001", "coco/val2014/COCO_val2014_000000000001.jpg"),
    ],
)
def test_the_list_and_the_named_file_may_name_a_photo_from_different_folders(local, animals, line, file_name):
    document = outlined(square(1, 2)).replace('"1.jpg"', f'"{file_name}"')
    local.write({"some.json": document, "list.txt": f"{line} 0\n", "val2014/COCO_val2014_000000000001.jpg": ""})

    (photo,) = read_coco(local, animals, f"{local.uri}/list.txt", truth=f"{local.uri}/some.json").photos

    assert (listed_ids(photo) == 1).sum() == 4


@pytest.mark.parametrize(
    ("line", "names"),
    [("a.jpg", ["x/a.jpg", "y/a.jpg"]), ("x/a.jpg", ["y/a.jpg", "b.jpg"]), ("ba.jpg", ["a.jpg", "c"])],
)
def test_a_photo_has_no_true_mask_if_the_named_file_may_mean_another_photo(local, animals, line, names):
    document = outlined(square(1, 2), square(2, 3))
    for number, name in enumerate(names, 1):
        document = document.replace(f'"{number}.jpg"', f'"{name}"')
    local.write({"some.json": document, "list.txt": f"{line} 0\n", f"images/{line}": ""})

    (photo,) = read_coco(local, animals, f"{local.uri}/list.txt", truth=f"{local.uri}/some.json").photos

    assert not photo.has_truth


def test_a_named_file_that_does_not_exist_is_an_error(folder, animals):
    folder.write({"list.txt": "a 0\n", "images/a.jpg": ""})
    with pytest.raises(
        DatasetError, match=r"dataset\.truth: no file .*/none\.json; give a folder of PNGs or an annotation"
    ):
        read_coco(folder, animals, f"{folder.uri}/list.txt", truth=f"{folder.uri}/none.json")


def test_no_mask_is_drawn_if_a_folder_has_the_true_masks(local, animals):
    local.write({"annotations/instances_val.json": outlined(square(1, 2)), "val/1.jpg": "", "truth/1.png": ""})
    (photo,) = read_coco(local, animals, "val", truth=f"{local.uri}/truth").photos
    assert photo.annotations is None
    assert photo.truth_uri == f"{local.uri}/truth/1.png"
