import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.keys import content_key, digest, photo_digest, row_digest, validation_digest
from clipes.tasks.plan.row_schema import column

PHOTO = Photo("a/1", "/photos/a/1.jpg", 1234, "1234-99", (3, 15), "/truth/1.png", "77-1")


@dataclasses.dataclass(frozen=True)
class Row:
    image_id: str
    value: object = None


def in_another_process(code):
    command = [sys.executable, "-c", f"from clipes.tasks.plan.keys import *; print({code})"]
    environment = {**os.environ, "PYTHONHASHSEED": "4321", "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "74234e98afe7498f"),
        ({"b": [1, 2.5], "a": ("ä", b"\x00\xff")}, "27177999ef39fb0e"),
        ([True, "x", ""], "07b1564baf145ce2"),
    ],
)
def test_digest_is_the_same_on_any_machine(value, expected):
    assert digest(value) == expected


def test_digest_is_the_same_in_another_process():
    value = {"words": ["bird", "ä"], "power": 2, "scales": (1.0, 0.5)}
    assert in_another_process(f"digest({value!r})") == digest(value)


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 2], [2, 1]), ([1, [2]], [[1], 2]), ("1", 1), (1, 1.0), (None, ""), (b"a", b"b"), ([], None), (0, False)],
)
def test_digests_of_different_values_differ(one, other):
    assert digest(one) != digest(other)


def test_digest_treats_numpy_doubles_as_floats():
    assert digest([np.float64(0.5)]) == digest([0.5])


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(3), np.zeros(2), {1, 2}, Row("1")])
def test_digest_refuses_values_without_a_canonical_form(value):
    with pytest.raises(TypeError, match=f"expected numbers, text, bytes, lists or dicts, got {type(value).__name__}"):
        digest({"value": [value]})


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "a/2"},
        {"size_bytes": 1235},
        {"fingerprint": "1234-98"},
        {"class_ids": (3,)},
        {"class_ids": (15, 3)},  # the order of the labels is the order of the CAMs
        {"class_ids": ()},
    ],
)
def test_photo_digest_changes_with_file_and_labels(change):
    assert photo_digest(dataclasses.replace(PHOTO, **change)) != photo_digest(PHOTO)


@pytest.mark.parametrize(
    "change",
    [{"truth_fingerprint": "77-2"}, {"truth_uri": None, "truth_fingerprint": None}, {"uri": "/moved/1.jpg"}],
)
def test_photo_digest_does_not_change_with_truth_or_location(change):
    assert photo_digest(dataclasses.replace(PHOTO, **change)) == photo_digest(PHOTO)


def test_content_key_depends_on_ids_and_digests_in_any_order():
    key = content_key({"a": "1", "b": "2"})

    assert key == content_key({"b": "2", "a": "1"})
    assert len({key, content_key({"a": "2", "b": "1"}), content_key({"a": "1"}), content_key({})}) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x00\x01", "ff20d7e9b4067abd"),
        (3, "cb6768af80eb6f91"),
        (0.1, "29d20d6fdb32849b"),
        (None, "2a80c2ed4d645490"),
        ((("cam", 1.0), (b"", (2,))), "f345a8b9309633d9"),
    ],
)
def test_row_digest_is_the_same_on_any_machine(value, expected):
    assert row_digest(Row("1", value)) == expected


def test_row_digest_changes_with_any_field():
    digests = {row_digest(Row(image_id, value)) for image_id in "12" for value in (b"", b"0", "0", 0, None)}
    assert len(digests) == 10


def test_a_row_digest_does_not_cover_a_column_that_is_declared_so():
    @dataclasses.dataclass(frozen=True)
    class Longer(Row):
        note: str | None = column("string", None, in_digest=False)

    assert row_digest(Longer("1", 2, "new")) == row_digest(Row("1", 2))


def test_row_digest_refuses_arrays():
    with pytest.raises(TypeError, match="expected numbers, text, bytes, lists or dicts, got ndarray"):
        row_digest(Row("1", np.zeros(3)))


@pytest.mark.parametrize(
    "change",
    [{"image_id": "b"}, {"fingerprint": "9-9"}, {"class_ids": (3,)}, {"truth_fingerprint": "77-2"}],
)
def test_the_digest_of_validation_photos_changes_with_each_photo_its_labels_and_its_true_mask(change):
    photos = [PHOTO, dataclasses.replace(PHOTO, image_id="z")]
    changed = [PHOTO, dataclasses.replace(photos[1], **change)]
    digests = {validation_digest(each) for each in (photos, changed, photos[:1], [])}
    assert len(digests) == 4
    assert validation_digest([]) is None


@pytest.mark.parametrize("change", [{"uri": "/moved/1.jpg"}, {"truth_uri": "/moved/1.png"}])
def test_the_digest_of_validation_photos_does_not_change_if_the_files_are_moved(change):
    assert validation_digest([dataclasses.replace(PHOTO, **change)]) == validation_digest([PHOTO])
