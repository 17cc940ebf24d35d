import json

import numpy as np
import pytest

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.truth import listed_ids
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind
from clipes_core.vocabulary import Vocabulary

OFF_BY_ONE = ". Does the file count ids from 1? Then all its labels are off by one"
CATEGORIES = {90: "cat", 7: "dog", 3: "couch", 11: "giraffe"}


def instances(images: dict[str, list[int]], categories=CATEGORIES) -> str:
    """Return an annotation file with the given photos and the category ids of their annotations."""
    numbers = {name: 1000 + place for place, name in enumerate(images)}
    annotations = [
        {
            "id": 5,
            "image_id": numbers[name],
            "category_id": category,
            "iscrowd": 1,
            "segmentation": {"counts": [1, 2], "size": [1, 3]},
            "bbox": [0.5, 1, 2, 3],
        }
        for name, ids in images.items()
        for category in ids
    ]
    listed = [{"id": number, "file_name": name, "license": 1} for name, number in numbers.items()]
    names = [{"id": number, "name": name, "supercategory": "thing"} for number, name in categories.items()]
    return json.dumps({"info": {}, "images": listed, "annotations": annotations, "categories": names})


def write_coco(folder, images, photos="train2014", split="train2014"):
    names = {f"{photos}/{name}": "photo" for name in images}
    folder.write({f"annotations/instances_{split}.json": instances(images), **names})


def read(folder, vocabulary, split="train2014", **settings):
    return read_dataset(DatasetConfig(format="coco", root=folder.uri, split=split, **settings), vocabulary)


def reasons(listing):
    return [(reject.image_id, reject.kind, reject.reason) for reject in listing.rejects]


def test_labels_are_the_category_names_of_the_annotations(folder, animals):
    write_coco(folder, {"b.jpg": [90, 7, 90, 3], "a.jpg": []})

    listing = read(folder, animals)

    assert [(photo.image_id, photo.class_ids) for photo in listing.photos] == [("b", (2, 1, 3)), ("a", ())]
    assert listing.photos[0].uri == f"{folder.uri}/train2014/b.jpg"
    assert listing.photos[0].fingerprint.startswith("5-1")
    assert listing.rejects == ()


def test_annotations_may_be_in_any_order(folder, animals):
    document = json.loads(instances({"a.jpg": [7], "b.jpg": [90]}))
    document["annotations"] = [*reversed(document["annotations"]), {"image_id": 1000, "category_id": 90}]
    folder.write({"annotations/instances_val.json": json.dumps(document), "val/a.jpg": "", "val/b.jpg": ""})
    assert [photo.class_ids for photo in read(folder, animals, "val").photos] == [(1, 2), (2,)]


def test_official_categories_get_the_contiguous_ids_of_the_paper(folder):
    official = {1: "person", 4: "motorcycle", 5: "airplane", 13: "stop sign", 63: "couch", 64: "potted plant"}
    official |= {67: "dining table", 72: "tv", 90: "toothbrush"}
    document = instances({"a.jpg": list(official)}, official)
    folder.write({"annotations/instances_val2014.json": document, "val2014/a.jpg": ""})

    photo = read(folder, load_vocabulary("coco14"), "val2014").photos[0]

    assert photo.class_ids == (1, 4, 5, 12, 58, 59, 61, 63, 80)


@pytest.mark.parametrize("photos", ["train2014", "images/train2014", "images", "val2014"])
def test_photos_are_found_in_the_usual_folders(folder, animals, photos):
    write_coco(folder, {"a.jpg": [7]}, photos)
    assert read(folder, animals).photos[0].uri == f"{folder.uri}/{photos}/a.jpg"


def test_the_folder_of_the_split_is_searched_first(folder, animals):
    write_coco(folder, {"a.jpg": [7]}, "images/val2014", split="val2014")
    folder.write({"train2014/a.jpg": "another"})
    assert read(folder, animals, "val2014").photos[0].uri == f"{folder.uri}/images/val2014/a.jpg"


def test_the_split_may_be_an_annotation_file_elsewhere(folder, animals):
    folder.write({"own.json": instances({"sub/a.jpg": [7]}), "images/sub/a.jpg": "", "truth/sub/a.png": ""})

    photo = read(folder, animals, f"{folder.uri}/own.json", truth=f"{folder.uri}/truth").photos[0]

    assert (photo.image_id, photo.uri) == ("sub/a", f"{folder.uri}/images/sub/a.jpg")
    assert photo.truth_uri == f"{folder.uri}/truth/sub/a.png"


def test_a_published_list_counts_class_ids_from_zero(folder, animals):
    rows = "COCO_train2014_9 3 0\r\n\r\nCOCO_val2014_25.jpg 1\nCOCO_train2014_7\n"
    rows += "COCO_train2014_8 4\nCOCO_train2014_6 dog\n"
    names = [f"train2014/COCO_train2014_{number}.jpg" for number in (9, 7, 8, 6)]
    folder.write({"train.txt": rows, "val2014/COCO_val2014_25.jpg": "", **dict.fromkeys(names, "")})

    listing = read(folder, animals, f"{folder.uri}/train.txt")

    assert [(photo.image_id, photo.class_ids) for photo in listing.photos] == [
        ("COCO_train2014_9", (4, 1)),
        ("COCO_val2014_25", (2,)),
        ("COCO_train2014_7", ()),
    ]
    assert reasons(listing) == [
        ("COCO_train2014_8", ErrorKind.UNKNOWN_CLASS, "unknown class '4'; ids range from 0 to 3" + OFF_BY_ONE),
        ("COCO_train2014_6", ErrorKind.UNKNOWN_CLASS, "unknown class 'dog'"),
    ]


def test_a_list_that_counts_class_ids_from_one_is_refused(folder, animals):
    folder.write({"train.txt": "a 4 1\nb 2\n", "images/a.jpg": "", "images/b.jpg": ""})
    problem = r"train.txt: its class ids start at 1, because 4 occurs and 0 does not; .* ids start at 0 \(dog\)"
    with pytest.raises(DatasetError, match=problem):
        read(folder, animals, f"{folder.uri}/train.txt")


@pytest.mark.parametrize(("rows", "notes"), [("a 1\n", 1), ("a 1 0\n", 0), ("a\nb 0\n", 0), ("a x\nb 1\n", 1)])
def test_a_list_that_may_count_class_ids_from_one_is_noted(folder, animals, rows, notes):
    folder.write({"train.txt": rows, "images/a.jpg": "", "images/b.jpg": ""})
    note = (
        "clipes assumed that the class ids of the list start at 0 (dog), as in the lists of CLIP-ES, but no line has "
    )
    note += "the id 0: if dog has the id 1 in this list, subtract 1 from each id"
    assert read(folder, animals, f"{folder.uri}/train.txt").notes == (note,) * notes


@pytest.mark.parametrize("name", ["000000000009", "COCO_train2014_000000000009", "COCO_val2014_000000000009.jpg"])
@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("train2014/COCO_train2014_000000000009.jpg", "COCO_train2014_000000000009.png"),
        ("train2017/000000000009.jpg", "000000000009.png"),
        ("val2014/COCO_val2014_000000000009.jpg", "000000000009.png"),
    ],
)
def test_a_list_may_have_the_names_of_another_year(local, animals, name, photo, mask):
    local.write({"train.txt": f"{name} 0 1\n", photo: "", f"truth/{mask}": ""})
    (found,) = read(local, animals, f"{local.uri}/train.txt", truth=f"{local.uri}/truth").photos
    assert (found.uri, found.truth_uri) == (f"{local.uri}/{photo}", f"{local.uri}/truth/{mask}")
    assert found.image_id == name.removesuffix(".jpg")


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

    first, second = read(folder, animals, "val").photos

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
        return [photo.truth_fingerprint for photo in read(local, vocabulary, "val").photos]

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

    first, second, third = read(folder, animals, f"{folder.uri}/list.txt", truth=f"{folder.uri}/some.json").photos

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

    (photo,) = read(local, animals, f"{local.uri}/list.txt", truth=f"{local.uri}/some.json").photos

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

    (photo,) = read(local, animals, f"{local.uri}/list.txt", truth=f"{local.uri}/some.json").photos

    assert not photo.has_truth


def test_a_named_file_that_does_not_exist_is_an_error(folder, animals):
    folder.write({"list.txt": "a 0\n", "images/a.jpg": ""})
    with pytest.raises(
        DatasetError, match=r"dataset\.truth: no file .*/none\.json; give a folder of PNGs or an annotation"
    ):
        read(folder, animals, f"{folder.uri}/list.txt", truth=f"{folder.uri}/none.json")


def test_no_mask_is_drawn_if_a_folder_has_the_true_masks(local, animals):
    local.write({"annotations/instances_val.json": outlined(square(1, 2)), "val/1.jpg": "", "truth/1.png": ""})
    (photo,) = read(local, animals, "val", truth=f"{local.uri}/truth").photos
    assert photo.annotations is None
    assert photo.truth_uri == f"{local.uri}/truth/1.png"


def test_every_image_is_either_a_photo_or_a_reject_with_a_reason(folder, animals):
    images = {"a.jpg": [7], "gone.jpg": [7], "b.jpg": [7, 11], "c.jpg": [12], "a.png": [7], "../d.jpg": [7]}
    present = ("a.jpg", "b.jpg", "c.jpg", "a.png")
    folder.write({"annotations/instances_val.json": instances(images), **{f"val/{name}": "" for name in present}})

    listing = read(folder, animals, "val")

    assert [photo.image_id for photo in listing.photos] == ["a"]
    places = " or ".join(f"{folder.uri}/{place}gone.jpg" for place in ("val/", "images/val/", "images/", ""))
    assert reasons(listing) == [
        ("gone", ErrorKind.MISSING, f"no file at {places}; correct the name, or add the file"),
        ("b", ErrorKind.UNKNOWN_CLASS, "unknown class 'giraffe'"),
        ("c", ErrorKind.UNKNOWN_CLASS, "unknown class 'category_id 12'"),
        (
            "a",
            ErrorKind.DUPLICATE,
            "an earlier photo has the same id (path without extension); only the earlier photo is used",
        ),
        ("../d", ErrorKind.MISSING, "'../d.jpg' is not a path below the data set's root"),
    ]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", r"instances_val.json: broken JSON \(Expecting property name .*; correct the file or download it again"),
        (
            "[]",
            "instances_val.json: no list named categories; COCO's files have images, annotations and categories",
        ),
        ('{"images": [], "categories": []}', "no list named annotations"),
        ('{"annotations": [{}], "categories": []}', r"annotations\[0\] has no image_id and no category_id"),
        ('{"categories": ["dog"]}', r"categories\[0\] has no id and no name"),
        ('{"categories": [{"id": [], "name": "dog"}]}', r"categories\[0\] has no id"),
        (
            '{"categories": [], "annotations": [{"image_id": {}, "category_id": 1}]}',
            r"annotations\[0\] has no image_id",
        ),
        (
            '{"categories": [{"id": true, "name": "dog"}]}',
            r"categories\[0\] has no id, which must be text or a finite number",
        ),
        (
            '{"categories": [], "annotations": [{"image_id": NaN, "category_id": 1}]}',
            r"annotations\[0\] has no image_id",
        ),
        (
            '{"categories": [{"id": 1, "name": "dog"}, {"id": 1, "name": "cat"}]}',
            "two categories have the id 1: dog and cat; give each category its own id, also in the annotations",
        ),
        ('{"images": [], "images": []}', "broken JSON .an object has a key twice; its keys are images, images"),
        ('{"categories": [{"id": 1, "id": 2, "name": "dog"}]}', "an object has a key twice; its keys are id, id, name"),
        ("[" * 100_000, "broken JSON .*recursion"),
        ("1" * 5000, "broken JSON .*digits"),
        ('{"annotations": [], "categories": [], "images": []}', "dataset.split: no photos in val"),
    ],
)
def test_the_error_for_an_unusable_file_gives_the_reason(folder, animals, document, message):
    folder.write({"annotations/instances_val.json": document})
    with pytest.raises(DatasetError, match=message):
        read(folder, animals, "val")


def test_the_error_for_an_unknown_split_lists_the_known_ones(folder, animals):
    write_coco(folder, {"a.jpg": [7]})
    folder.write({"annotations/instances_val2014.json": "", "annotations/captions_val2014.json": ""})
    with pytest.raises(DatasetError) as error:
        read(folder, animals, "test2014")

    place = f"{folder.uri}/annotations"
    expected = f"dataset.split: no file {place}/instances_test2014.json; splits in {place}: train2014, val2014"
    assert str(error.value) == expected


def test_a_root_that_is_not_a_coco_folder_is_an_error(folder, animals):
    with pytest.raises(
        DatasetError, match=r"/annotations has no instances_\*.json; set dataset.root to the folder that"
    ):
        read(folder, animals)


def test_photos_with_invalid_file_names_are_rejects(folder, animals):
    images = [{"id": number, "file_name": name} for number, name in enumerate(["a.jpg", "\ud800.jpg", "b\0/c.jpg"])]
    document = json.dumps({"images": images, "annotations": [], "categories": []})
    folder.write({"annotations/instances_val.json": document, "val/a.jpg": ""})

    listing = read(folder, animals, "val")

    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [(reject.image_id, reject.kind) for reject in listing.rejects] == [
        (r"\ud800", ErrorKind.MISSING),
        ("b\0/c", ErrorKind.MISSING),
    ]
    assert all(reject.reason.endswith("is not a path below the data set's root") for reject in listing.rejects)


def test_the_photo_size_in_the_annotations_is_listed(local, animals):
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 640, "height": 480},
        {"id": 2, "file_name": "b.jpg", "width": "x"},
    ]
    document = json.dumps({"images": images, "annotations": [], "categories": []})
    local.write({"annotations/instances_val.json": document, "val/a.jpg": "", "val/b.jpg": ""})
    assert [photo.stated_size for photo in read(local, animals, "val").photos] == [(640, 480), None]


def test_annotations_of_unknown_images_are_noted(local, animals, caplog):
    document = json.loads(instances({"a.jpg": [7], "b.jpg": [90]}))
    document["images"][0]["id"] = "1000"
    local.write({"annotations/instances_val.json": json.dumps(document), "val/a.jpg": "", "val/b.jpg": ""})

    listing = read(local, animals, "val")

    assert [photo.class_ids for photo in listing.photos] == [(), (2,)]
    note = "1 image_ids in the annotations match no image (the first is 1000); photos may lack their labels"
    assert listing.notes == (note,)
    assert note in caplog.text


def test_annotations_that_all_match_no_image_are_refused(local, animals):
    document = json.loads(instances({"a.jpg": [7]}))
    document["images"][0]["id"] = "1000"
    local.write({"annotations/instances_val.json": json.dumps(document), "val/a.jpg": ""})

    problem = (
        r"instances_val.json: no annotation belongs to an image: the first image_id of an annotation is 1000, and the "
        r"first id of an image is '1000'; correct the ids in one of the sections"
    )
    with pytest.raises(DatasetError, match=problem):
        read(local, animals, "val")


def test_images_with_the_same_id_are_rejected(folder, animals):
    document = json.loads(instances({"a.jpg": [7], "b.jpg": [90], "c.jpg": [3]}))
    document["images"][1]["id"] = document["images"][0]["id"]
    document["images"].append(document["images"][2])
    names = dict.fromkeys(["val/a.jpg", "val/b.jpg", "val/c.jpg"], "")
    folder.write({"annotations/instances_val.json": json.dumps(document), **names})

    listing = read(folder, animals, "val")

    same = "2 images have the id 1000, so their annotations cannot be told apart (a.jpg and b.jpg); give each image"
    assert [(photo.image_id, photo.class_ids) for photo in listing.photos] == [("c", (3,))]
    assert [(where, kind) for where, kind, _ in reasons(listing)] == [
        ("a", ErrorKind.UNREADABLE_LABELS),
        ("b", ErrorKind.UNREADABLE_LABELS),
        ("c", ErrorKind.DUPLICATE),
    ]
    assert all(reason.startswith(same) for _, _, reason in reasons(listing)[:2])


def test_a_broken_image_is_a_reject(folder, animals):
    document = json.loads(instances({"a.jpg": [7]}))
    document["images"] += [{"id": 1}, "b.jpg", {"id": 2, "file_name": None}, {"id": [], "file_name": "c.jpg"}]
    folder.write({"annotations/instances_val.json": json.dumps(document), "val/a.jpg": ""})

    listing = read(folder, animals, "val")

    assert [photo.image_id for photo in listing.photos] == ["a"]
    must = ", which must be text or a finite number"
    assert reasons(listing) == [
        ("images[1]", ErrorKind.UNREADABLE_LABELS, f"images[1] has no file_name{must}"),
        ("images[2]", ErrorKind.UNREADABLE_LABELS, f"images[2] has no id and no file_name{must}"),
        ("images[3]", ErrorKind.UNREADABLE_LABELS, f"images[3] has no file_name{must}"),
        ("c", ErrorKind.UNREADABLE_LABELS, f"images[4] has no id{must}"),
    ]


def test_backslashes_in_file_names_separate_folders(local, animals):
    names = ["sub\\a.jpg", "..\\..\\media\\b.jpg", "real\\c.jpg"]
    document = instances({name: [7] for name in names})
    files = dict.fromkeys(["val/sub/a.jpg", "val/real\\c.jpg", "truth/sub/a.png"], "")
    local.write({"annotations/instances_val.json": document, **files})

    listing = read(local, animals, "val", truth=f"{local.uri}/truth")

    assert [(photo.image_id, photo.uri) for photo in listing.photos] == [
        ("sub/a", f"{local.uri}/val/sub/a.jpg"),
        ("real\\c", f"{local.uri}/val/real\\c.jpg"),
    ]
    assert listing.photos[0].truth_uri == f"{local.uri}/truth/sub/a.png"
    assert listing.notes == ("clipes read the backslashes in the path as slashes: 1 (the first is sub/a)",)
    (outside,) = listing.rejects
    assert (outside.image_id, outside.kind) == ("..\\..\\media\\b", ErrorKind.MISSING)
    assert outside.reason.endswith("; write the path with / instead of \\, and relative to dataset.root")


def test_a_url_as_file_name_is_a_reject_with_advice(local, animals):
    url = "http://images.cocodataset.org/val2017/a.jpg"
    local.write({"annotations/instances_val.json": instances({url: [7], "b.jpg": [7]}), "val/b.jpg": ""})
    (reject,) = read(local, animals, "val").rejects
    assert reject.reason == f"{url!r} is a URL; download the photo, and write its path below dataset.root instead"


def test_a_url_that_may_contain_a_password_is_a_reject_with_the_same_advice(local, animals):
    urls = ["https://host/a.jpg?token=hunter2", "https://me:hunter2@host/a.jpg"]
    document = json.loads(instances({name: [7] for name in [*urls, "b.jpg"]}))
    document["images"].append({"file_name": urls[0]})
    local.write({"annotations/instances_val.json": json.dumps(document), "val/b.jpg": ""})

    rejects = read(local, animals, "val").rejects

    assert [reject.image_id for reject in rejects] == ["images[0]", "images[1]", "images[3]"]
    assert {reject.kind for reject in rejects} == {ErrorKind.NOT_PERMITTED}
    advice = "the file name is a URL; download the photo, and write its path below dataset.root instead"
    assert {reject.reason for reject in rejects} == {advice}


def test_no_reject_repeats_a_password_in_the_file_name_of_another_image(local, animals):
    images = [{"id": 1, "file_name": name} for name in ("a.jpg", "https://host/a.jpg?token=hunter2")]
    document = json.dumps({"images": [*images, {"id": 2, "file_name": "b.jpg"}], "annotations": [], "categories": []})
    local.write({"annotations/instances_val.json": document, "val/b.jpg": ""})

    listing = read(local, animals, "val")

    assert [reject.image_id for reject in listing.rejects] == ["a", "images[1]"]
    assert "(a.jpg and https://***" in listing.rejects[0].reason
    assert not any("hunter2" in f"{reject}" for reject in listing.rejects)
