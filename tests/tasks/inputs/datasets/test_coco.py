import json

import pytest
from support.coco_files import instances, read_coco, reasons, write_coco

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.errors import DatasetError, ErrorKind

OFF_BY_ONE = ". Does the file count ids from 1? Then all its labels are off by one"


def test_labels_are_the_category_names_of_the_annotations(folder, animals):
    write_coco(folder, {"b.jpg": [90, 7, 90, 3], "a.jpg": []})

    listing = read_coco(folder, animals)

    assert [(photo.image_id, photo.class_ids) for photo in listing.photos] == [("b", (2, 1, 3)), ("a", ())]
    assert listing.photos[0].uri == f"{folder.uri}/train2014/b.jpg"
    assert listing.photos[0].fingerprint.startswith("5-1")
    assert listing.rejects == ()


def test_annotations_may_be_in_any_order(folder, animals):
    document = json.loads(instances({"a.jpg": [7], "b.jpg": [90]}))
    document["annotations"] = [*reversed(document["annotations"]), {"image_id": 1000, "category_id": 90}]
    folder.write({"annotations/instances_val.json": json.dumps(document), "val/a.jpg": "", "val/b.jpg": ""})
    assert [photo.class_ids for photo in read_coco(folder, animals, "val").photos] == [(1, 2), (2,)]


def test_official_categories_get_the_contiguous_ids_of_the_paper(folder):
    official = {1: "person", 4: "motorcycle", 5: "airplane", 13: "stop sign", 63: "couch", 64: "potted plant"}
    official |= {67: "dining table", 72: "tv", 90: "toothbrush"}
    document = instances({"a.jpg": list(official)}, official)
    folder.write({"annotations/instances_val2014.json": document, "val2014/a.jpg": ""})

    photo = read_coco(folder, load_vocabulary("coco14"), "val2014").photos[0]

    assert photo.class_ids == (1, 4, 5, 12, 58, 59, 61, 63, 80)


@pytest.mark.parametrize("photos", ["train2014", "images/train2014", "images", "val2014"])
def test_photos_are_found_in_the_usual_folders(folder, animals, photos):
    write_coco(folder, {"a.jpg": [7]}, photos)
    assert read_coco(folder, animals).photos[0].uri == f"{folder.uri}/{photos}/a.jpg"


def test_the_folder_of_the_split_is_searched_first(folder, animals):
    write_coco(folder, {"a.jpg": [7]}, "images/val2014", split="val2014")
    folder.write({"train2014/a.jpg": "another"})
    assert read_coco(folder, animals, "val2014").photos[0].uri == f"{folder.uri}/images/val2014/a.jpg"


def test_the_split_may_be_an_annotation_file_elsewhere(folder, animals):
    folder.write({"own.json": instances({"sub/a.jpg": [7]}), "images/sub/a.jpg": "", "truth/sub/a.png": ""})

    photo = read_coco(folder, animals, f"{folder.uri}/own.json", truth=f"{folder.uri}/truth").photos[0]

    assert (photo.image_id, photo.uri) == ("sub/a", f"{folder.uri}/images/sub/a.jpg")
    assert photo.truth_uri == f"{folder.uri}/truth/sub/a.png"


def test_a_published_list_counts_class_ids_from_zero(folder, animals):
    rows = "COCO_train2014_9 3 0\r\n\r\nCOCO_val2014_25.jpg 1\nCOCO_train2014_7\n"
    rows += "COCO_train2014_8 4\nCOCO_train2014_6 dog\n"
    names = [f"train2014/COCO_train2014_{number}.jpg" for number in (9, 7, 8, 6)]
    folder.write({"train.txt": rows, "val2014/COCO_val2014_25.jpg": "", **dict.fromkeys(names, "")})

    listing = read_coco(folder, animals, f"{folder.uri}/train.txt")

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
        read_coco(folder, animals, f"{folder.uri}/train.txt")


@pytest.mark.parametrize(("rows", "notes"), [("a 1\n", 1), ("a 1 0\n", 0), ("a\nb 0\n", 0), ("a x\nb 1\n", 1)])
def test_a_list_that_may_count_class_ids_from_one_is_noted(folder, animals, rows, notes):
    folder.write({"train.txt": rows, "images/a.jpg": "", "images/b.jpg": ""})
    note = (
        "clipes assumed that the class ids of the list start at 0 (dog), as in the lists of CLIP-ES, but no line has "
    )
    note += "the id 0: if dog has the id 1 in this list, subtract 1 from each id"
    assert read_coco(folder, animals, f"{folder.uri}/train.txt").notes == (note,) * notes


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
    (found,) = read_coco(local, animals, f"{local.uri}/train.txt", truth=f"{local.uri}/truth").photos
    assert (found.uri, found.truth_uri) == (f"{local.uri}/{photo}", f"{local.uri}/truth/{mask}")
    assert found.image_id == name.removesuffix(".jpg")


def test_every_image_is_either_a_photo_or_a_reject_with_a_reason(folder, animals):
    images = {"a.jpg": [7], "gone.jpg": [7], "b.jpg": [7, 11], "c.jpg": [12], "a.png": [7], "../d.jpg": [7]}
    present = ("a.jpg", "b.jpg", "c.jpg", "a.png")
    folder.write({"annotations/instances_val.json": instances(images), **{f"val/{name}": "" for name in present}})

    listing = read_coco(folder, animals, "val")

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
        read_coco(folder, animals, "val")


def test_the_error_for_an_unknown_split_lists_the_known_ones(folder, animals):
    write_coco(folder, {"a.jpg": [7]})
    folder.write({"annotations/instances_val2014.json": "", "annotations/captions_val2014.json": ""})
    with pytest.raises(DatasetError) as error:
        read_coco(folder, animals, "test2014")

    place = f"{folder.uri}/annotations"
    expected = f"dataset.split: no file {place}/instances_test2014.json; splits in {place}: train2014, val2014"
    assert str(error.value) == expected


def test_a_root_that_is_not_a_coco_folder_is_an_error(folder, animals):
    with pytest.raises(
        DatasetError, match=r"/annotations has no instances_\*.json; set dataset.root to the folder that"
    ):
        read_coco(folder, animals)


def test_photos_with_invalid_file_names_are_rejects(folder, animals):
    images = [{"id": number, "file_name": name} for number, name in enumerate(["a.jpg", "\ud800.jpg", "b\0/c.jpg"])]
    document = json.dumps({"images": images, "annotations": [], "categories": []})
    folder.write({"annotations/instances_val.json": document, "val/a.jpg": ""})

    listing = read_coco(folder, animals, "val")

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
    assert [photo.stated_size for photo in read_coco(local, animals, "val").photos] == [(640, 480), None]


def test_annotations_of_unknown_images_are_noted(local, animals, caplog):
    document = json.loads(instances({"a.jpg": [7], "b.jpg": [90]}))
    document["images"][0]["id"] = "1000"
    local.write({"annotations/instances_val.json": json.dumps(document), "val/a.jpg": "", "val/b.jpg": ""})

    listing = read_coco(local, animals, "val")

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
        read_coco(local, animals, "val")


def test_images_with_the_same_id_are_rejected(folder, animals):
    document = json.loads(instances({"a.jpg": [7], "b.jpg": [90], "c.jpg": [3]}))
    document["images"][1]["id"] = document["images"][0]["id"]
    document["images"].append(document["images"][2])
    names = dict.fromkeys(["val/a.jpg", "val/b.jpg", "val/c.jpg"], "")
    folder.write({"annotations/instances_val.json": json.dumps(document), **names})

    listing = read_coco(folder, animals, "val")

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

    listing = read_coco(folder, animals, "val")

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

    listing = read_coco(local, animals, "val", truth=f"{local.uri}/truth")

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
    (reject,) = read_coco(local, animals, "val").rejects
    assert reject.reason == f"{url!r} is a URL; download the photo, and write its path below dataset.root instead"


def test_a_url_that_may_contain_a_password_is_a_reject_with_the_same_advice(local, animals):
    urls = ["https://host/a.jpg?token=hunter2", "https://me:hunter2@host/a.jpg"]
    document = json.loads(instances({name: [7] for name in [*urls, "b.jpg"]}))
    document["images"].append({"file_name": urls[0]})
    local.write({"annotations/instances_val.json": json.dumps(document), "val/b.jpg": ""})

    rejects = read_coco(local, animals, "val").rejects

    assert [reject.image_id for reject in rejects] == ["images[0]", "images[1]", "images[3]"]
    assert {reject.kind for reject in rejects} == {ErrorKind.NOT_PERMITTED}
    advice = "the file name is a URL; download the photo, and write its path below dataset.root instead"
    assert {reject.reason for reject in rejects} == {advice}


def test_no_reject_repeats_a_password_in_the_file_name_of_another_image(local, animals):
    images = [{"id": 1, "file_name": name} for name in ("a.jpg", "https://host/a.jpg?token=hunter2")]
    document = json.dumps({"images": [*images, {"id": 2, "file_name": "b.jpg"}], "annotations": [], "categories": []})
    local.write({"annotations/instances_val.json": document, "val/b.jpg": ""})

    listing = read_coco(local, animals, "val")

    assert [reject.image_id for reject in listing.rejects] == ["a", "images[1]"]
    assert "(a.jpg and https://***" in listing.rejects[0].reason
    assert not any("hunter2" in f"{reject}" for reject in listing.rejects)
