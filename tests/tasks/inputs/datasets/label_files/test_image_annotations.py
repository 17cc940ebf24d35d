import json

import numpy as np
import pytest

from clipes.tasks.inputs.datasets.label_files.image_annotations import ImageAnnotations
from clipes.tasks.inputs.datasets.label_files.json_stream import Item


def annotations(*records: dict) -> ImageAnnotations:
    found, offset = ImageAnnotations(), 10
    for record in records:
        text = json.dumps(record)
        found.add(Item(record, offset, text))
        offset += len(text)
    return found


def record(image, category=1, segmentation=True, **fields):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, **fields}


def test_the_annotations_of_an_image_are_found_in_the_order_of_the_file():
    records = [record("b", 7), record(4, 9), record("b", 3), record("b", 7)]
    found = annotations(*records)
    assert list(found.categories["b"]) == [7, 3]
    starts = 10 + np.cumsum([0, *(len(json.dumps(each)) for each in records)])
    spans = np.frombuffer(found.outlines("b").spans, "<i8").reshape(-1, 2)
    assert spans.tolist() == [[starts[place], len(json.dumps(records[place]))] for place in (0, 2, 3)]


def test_an_image_without_annotations_has_no_spans():
    assert annotations(record(1)).outlines(2).spans == b""


def test_an_image_whose_objects_do_not_all_have_outlines_has_none():
    found = annotations(record(1), record(1, segmentation=False), record(2), {"image_id": 3, "category_id": 1})
    assert [found.lacks_outlines(image) for image in (1, 2, 3, 4)] == [True, False, True, False]
    assert [found.outlines(image) is None for image in (1, 2, 3, 4)] == [True, False, True, False]


@pytest.mark.parametrize("segmentation", [False, None, 0])
def test_a_file_without_outlines_has_none_for_any_image(segmentation):
    found = annotations(record(1, segmentation=segmentation))
    assert found.outlines(1) is None
    assert found.outlines(2) is None


def test_the_digest_of_an_image_changes_with_its_own_annotations_only():
    before = annotations(record(1), record(2), record(1, 3))
    after = annotations(record(1), record(2, area=5), record(1, 3))
    assert before.outlines(1).digest == after.outlines(1).digest
    assert before.outlines(1).spans != after.outlines(1).spans
    assert before.outlines(2).digest != after.outlines(2).digest
    assert annotations(record(1, 3), record(1)).outlines(1).digest != before.outlines(1).digest
