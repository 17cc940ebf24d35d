import pytest

from clipes.tasks.inputs.datasets.entries import (
    Entry,
    dataset_root,
    find_class_ids,
    mask_place,
    path_inside,
    rejected,
    without_extension,
)
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import ConfigError, ErrorKind, PhotoError

KNOWN = {"dog": 1, "Cat": 2, "couch": 3, "sofa": 3}


def reason(labels, known):
    with pytest.raises(PhotoError) as caught:
        find_class_ids(labels, known)
    assert caught.value.kind == ErrorKind.UNKNOWN_CLASS
    return caught.value.reason


def test_class_ids_are_unique_in_order_of_first_appearance():
    assert find_class_ids(["sofa", "dog", "couch", "dog"], KNOWN) == (3, 1)
    assert find_class_ids([], KNOWN) == ()


def test_the_reason_for_an_unknown_label_suggests_a_known_one():
    assert reason(["dog", "cat"], KNOWN) == "unknown class 'cat'; did you mean 'Cat'?"
    assert reason(["giraffe"], KNOWN) == "unknown class 'giraffe'"
    assert reason(["Dogg"], KNOWN) == "unknown class 'Dogg'; did you mean 'dog'?"
    assert reason(["4"], KNOWN) == "unknown class '4'"


@pytest.mark.parametrize(
    ("label", "first", "hint"),
    [
        ("0", 1, "; ids range from 1 to 3. Does the file count ids from 0? Then all its labels are off by one"),
        ("3", 0, "; ids range from 0 to 2. Does the file count ids from 1? Then all its labels are off by one"),
        ("4", 1, "; ids range from 1 to 3"),
        ("-1", 0, "; ids range from 0 to 2"),
    ],
)
def test_the_reason_for_an_unknown_id_names_the_range(label, first, hint):
    known = {str(first + index): index + 1 for index in range(3)}
    assert reason([label], known) == f"unknown class {label!r}{hint}"


def test_a_path_inside_the_root_is_normalised():
    assert path_inside("./sub//../a b/ä.jpg") == "a b/ä.jpg"
    assert path_inside("..a/b") == "..a/b"


def test_an_empty_path_is_missing():
    with pytest.raises(PhotoError, match=r"^the path is empty; write the path of the photo$") as caught:
        path_inside("")
    assert caught.value.kind == ErrorKind.MISSING


@pytest.mark.parametrize("path", [".", "a/..", "/a", "..", "../a", "a/../../b", "a\0b", "\ud800.jpg"])
def test_a_path_outside_the_root_or_with_an_invalid_name_is_missing(path):
    with pytest.raises(PhotoError, match="is not a path below the data set's root") as caught:
        path_inside(path)
    assert caught.value.kind == ErrorKind.MISSING


def test_only_the_last_extension_is_dropped():
    assert without_extension("v1.0/a.b.jpg") == "v1.0/a.b"
    assert without_extension("v1.0/a") == "v1.0/a"


def test_a_mask_has_a_location_only_if_the_truth_folder_is_set():
    assert mask_place("s3://bucket/masks", "sub/a") == ("s3://bucket/masks/sub/a.png",)
    assert mask_place(None, "a") == ()


def test_the_truth_named_by_the_list_takes_precedence():
    entry = Entry("a", ("/a.jpg",), (), truth_uris=("/masks/a.png",))
    assert entry.truth_places == ("/masks/a.png",)
    named = Entry("a", ("/a.jpg",), (), truth_uris=("/masks/a.png",), named_truth="/own.png")
    assert named.truth_places == ("/own.png", "/masks/a.png")


def test_a_reject_can_always_be_encoded_as_utf8():
    row = rejected("\ud800", "/\ud800.jpg", PhotoError(ErrorKind.MISSING, "no \ud800"))
    assert (row.image_id, row.uri, row.stage) == ("\\ud800", "/\\ud800.jpg", "manifest")
    assert (row.kind, row.reason) == (ErrorKind.MISSING, "no \\ud800")


def test_the_root_must_be_set():
    assert dataset_root(DatasetConfig(root="/data/voc/")) == "/data/voc"
    with pytest.raises(ConfigError, match=r"^dataset\.root: must be set for format coco; give the data set's folder$"):
        dataset_root(DatasetConfig(format="coco"))
