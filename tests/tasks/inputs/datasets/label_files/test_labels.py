import pytest

from clipes.tasks.inputs.datasets.label_files.labels import BLANKS, JOINED, LabelReader
from clipes_core.errors import ErrorKind, PhotoError

KNOWN = {"dog": 1, "traffic light": 2, "stop_sign": 3, "dog,cat": 4, "light_bulb": 5, "light bulb": 6, "1": 1, "2": 2}
IN_LIST, IN_XML = LabelReader(KNOWN, lists=True), LabelReader(KNOWN)


@pytest.mark.parametrize(
    ("labels", "class_ids", "notes"),
    [
        (("dog", "2"), (1, 2), ()),
        (("dog,traffic light",), (1, 2), (JOINED,)),
        (("dog|2", "stop_sign"), (1, 2, 3), (JOINED,)),
        (("dog, stop sign,",), (1, 3), (JOINED, BLANKS)),
        (("dog,",), (1,), (JOINED,)),
        (("traffic_light",), (2,), (BLANKS,)),
        (("stop sign", "traffic  light"), (3, 2), (BLANKS,)),
        (("dog,cat",), (4,), ()),
        (("light_bulb",), (5,), ()),
        (("light bulb",), (6,), ()),
    ],
)
def test_a_label_is_corrected_only_if_one_class_can_be_meant(labels, class_ids, notes):
    found = IN_LIST.read(labels)
    assert (found.class_ids, found.notes) == (class_ids, notes)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("dog,giraffe",), "unknown class 'dog,giraffe'; separate labels by ;"),
        (("dog", "light  bulb"), "unknown class 'light  bulb'; did you mean 'light bulb'?"),
        ((",",), "unknown class ','; separate labels by ;"),
        (("Dog",), "unknown class 'Dog'; did you mean 'dog'?"),
    ],
)
def test_any_other_unknown_label_is_an_error(labels, reason):
    with pytest.raises(PhotoError) as error:
        IN_LIST.read(labels)
    assert (error.value.kind, error.value.reason) == (ErrorKind.UNKNOWN_CLASS, reason)


def test_labels_of_annotations_are_never_separated():
    with pytest.raises(PhotoError, match=r"^unknown class 'dog\|2'; did you mean 'dog'"):
        IN_XML.read(("dog|2",))
    assert IN_XML.read(("traffic_light",)).class_ids == (2,)
