"""Annotation files of COCO in the folders of COCO, CVAT and Roboflow."""

import json

import pytest
from support.own_photos import doubts_of, init_labels, labels_read, write_photos

from clipes.tasks.commands.init.writing import initialise

ANNOTATIONS = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}, {"id": 9, "file_name": "gone.jpg"}],
    "annotations": [
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 4, 4]},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4]},
        {"image_id": 7, "category_id": 3, "bbox": [1, 1, 4, 4]},
    ],
    "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "cow"}],
}


def without_gone(annotations):
    return {**annotations, "images": annotations["images"][:2]}


@pytest.mark.parametrize(
    ("json_file", "photo_folder", "split"),
    [
        ("annotations/instances_train.json", "train", "split: train  "),
        ("annotations/instances_default.json", "images", "split: default  "),
        ("train/_annotations.coco.json", "train", "split: photos/train/_annotations.coco.json  "),
        ("labels.json", "pictures/2024", "split: photos-photos.csv  "),
    ],
)
def test_a_run_reads_exactly_the_categories_of_each_photo(photos, json_file, photo_folder, split):
    write_photos(photos / photo_folder, ["a.jpg", "b.jpg"])
    (photos / json_file).parent.mkdir(exist_ok=True)
    (photos / json_file).write_text(json.dumps(without_gone(ANNOTATIONS)))
    done = initialise(str(photos))
    assert labels_read(done, photos) == {f"{photo_folder}/a.jpg": {"dog", "cat"}, f"{photo_folder}/b.jpg": set()}
    assert [each.name for each in done.inspection.classes] == ["dog", "cat", "cow"]
    assert split in done.files[0].read_text()


@pytest.mark.parametrize("outlined", [False, True])
def test_the_config_says_whether_the_file_has_true_masks(photos, outlined):
    write_photos(photos / "train", ["a.jpg", "b.jpg"])
    (photos / "annotations").mkdir()
    annotations = [{**each, "segmentation": [[0, 0, 4, 0, 4, 4]] * outlined} for each in ANNOTATIONS["annotations"]]
    document = {**without_gone(ANNOTATIONS), "annotations": annotations}
    (photos / "annotations" / "instances_train.json").write_text(json.dumps(document))
    done = initialise(str(photos))
    assert done.inspection.found.description.endswith(
        "COCO's annotations (3 categories, with outlines, from which clipes draws true masks)"
        if outlined
        else "COCO's annotations (3 categories)"
    )


def test_missing_and_unnamed_photos_and_other_files_are_doubts(photos):
    write_photos(photos, ["a.jpg", "b.jpg", "c.jpg"])
    (photos / "labels.json").write_text(json.dumps(ANNOTATIONS))
    (photos / "few.json").write_text(json.dumps({**ANNOTATIONS, "images": ANNOTATIONS["images"][:1]}))
    (photos / "settings.json").write_text("{}")
    done = initialise(str(photos))
    assert labels_read(done, photos) == {"a.jpg": {"dog", "cat"}, "b.jpg": set()}
    found = doubts_of(done)
    assert "labels.json names files that do not exist, which are left out: 1 (gone.jpg in images)" in found
    assert "labels.json does not name these photos, which are left out: 1 (c.jpg)" in found
    assert "other annotation files, which are not used (a run reads one of them): 1 (few.json)" in found
    assert any(each.startswith("JSON files that are no annotation files of COCO") for each in found)
    assert "photos without labels, whose masks will be all background: 1 (b.jpg)" in found
    assert "classes that no photo has: 1 (cow)" in found


def test_categories_that_differ_in_case_are_one_class(photos):
    write_photos(photos, ["a.jpg", "b.jpg"])
    categories = [{"id": 3, "name": "dog"}, {"id": 1, "name": "Dog"}]
    (photos / "labels.json").write_text(json.dumps({**without_gone(ANNOTATIONS), "categories": categories}))
    assert init_labels(photos)["a.jpg"] == {"dog"}
