import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from clipes_core.encodings.coco_objects import CocoObject, decompressed_counts, draw_objects
from clipes_core.errors import ErrorKind, PhotoError

SIZE_HW = (6, 8)


def box(left, top, right, bottom):
    """Return the polygon of the pixels in [left, right) x [top, bottom)."""
    return [left, top, right, top, right, bottom, left, bottom]


def rle(mask, compressed=False):
    encoded = coco_mask.encode(np.asfortranarray(np.asarray(mask, np.uint8)))
    if compressed:
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat]))).tolist()
    return {"size": encoded["size"], "counts": np.diff([0, *changes, flat.size]).tolist()}


def ring():
    mask = np.zeros(SIZE_HW, bool)
    mask[1:5, 1:6] = True
    mask[2:4, 2:5] = False
    return mask


def object_mask(segmentation, size_hw):
    """Return the pixels of a photo's only object, (H, W) bool."""
    return draw_objects([CocoObject(1, segmentation)], size_hw) == 1


def test_a_polygon_is_filled():
    expected = np.zeros(SIZE_HW, bool)
    expected[1:3, 2:6] = True
    assert (object_mask([box(2, 1, 6, 3)], SIZE_HW) == expected).all()


def test_an_object_of_several_parts_has_the_pixels_of_all_of_them():
    expected = np.zeros(SIZE_HW, bool)
    expected[0:2, 0:3] = expected[1:6, 2:4] = True
    assert (object_mask([box(0, 0, 3, 2), box(2, 1, 4, 6)], SIZE_HW) == expected).all()


def test_a_polygon_may_leave_the_photo():
    assert object_mask([box(-5, -5, 50, 50)], SIZE_HW).all()


@pytest.mark.parametrize("compressed", [False, True])
def test_an_rle_may_have_holes(compressed):
    assert (object_mask(rle(ring(), compressed), SIZE_HW) == ring()).all()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("value", [0, 1])
def test_an_rle_may_be_empty_or_full(compressed, value):
    found = object_mask(rle(np.full(SIZE_HW, value), compressed), SIZE_HW)
    assert found.shape == SIZE_HW
    assert (found == value).all()


def test_counts_need_not_end_with_an_empty_run():
    assert object_mask({"size": [1, 4], "counts": [0, 0, 1, 3, 0]}, (1, 4)).tolist() == [[False, True, True, True]]


def test_compressed_and_uncompressed_rles_equal_those_of_pycocotools():
    random = np.random.default_rng(0)
    for _ in range(300):
        size_hw = tuple(map(int, random.integers(1, 60, 2)))
        mask = random.random(size_hw) < random.random()
        for form in (rle(mask), rle(mask, compressed=True)):
            assert (object_mask(form, size_hw) == mask).all()
        assert decompressed_counts(rle(mask, compressed=True)["counts"]) == rle(mask)["counts"]


def random_segmentation(random, size_hw):
    height, width = size_hw
    kind = random.integers(3)
    if kind == 0:
        mask = np.zeros(size_hw, bool)
        top, left = random.integers(0, height), random.integers(0, width)
        mask[top : top + 20, left : left + 20] = True
        mask[top + 5 : top + 9, left + 5 : left + 9] = False
        return rle(mask, compressed=bool(random.integers(2)))
    points = [random.integers(3, 12) for _ in range(kind)]
    return [(random.random(2 * count) * (max(size_hw) + 10) - 5).round(2).tolist() for count in points]


def test_objects_and_photos_equal_those_of_cocos_own_program():
    """Compare with `COCO.annToMask` for each object, and with a plain loop for the order in which they are drawn."""
    random, size_hw = np.random.default_rng(1), (50, 70)
    for _ in range(60):
        objects = [
            CocoObject(int(random.integers(1, 81)), random_segmentation(random, size_hw), random.random() < 0.2)
            for _ in range(random.integers(1, 9))
        ]
        coco = COCO()
        coco.imgs = {1: {"height": size_hw[0], "width": size_hw[1]}}
        masks = [coco.annToMask({"image_id": 1, "segmentation": each.segmentation}).astype(bool) for each in objects]
        for each, mask in zip(objects, masks, strict=True):
            assert (object_mask(each.segmentation, size_hw) == mask).all()
        expected = np.zeros(size_hw, int)
        for each, mask in zip(objects, masks, strict=True):
            if each.is_crowd:
                expected[mask] = 255
        remaining = [place for place, each in enumerate(objects) if not each.is_crowd]
        while remaining:
            largest = max(masks[place].sum() for place in remaining)
            first = next(place for place in remaining if masks[place].sum() == largest)
            expected[masks[first]] = objects[first].class_id
            remaining.remove(first)
        found = draw_objects(objects, size_hw)
        assert found.dtype == np.uint8
        assert (found == expected).all()


def test_smaller_objects_are_on_top_and_of_equal_ones_the_later():
    large, small = CocoObject(1, [box(0, 0, 6, 6)]), CocoObject(2, [box(1, 1, 3, 3)])
    for objects in ([large, small], [small, large]):
        ids = draw_objects(objects, SIZE_HW)
        assert ids[1:3, 1:3].tolist() == [[2, 2], [2, 2]]
        assert (ids == 1).sum() == 36 - 4
    assert draw_objects([CocoObject(3, small.segmentation), small], SIZE_HW)[1, 1] == 2
    assert draw_objects([small, CocoObject(3, small.segmentation)], SIZE_HW)[1, 1] == 3


def test_crowds_are_ignored_below_all_objects():
    crowd = CocoObject(1, rle(ring()), is_crowd=True)
    for objects in ([crowd, CocoObject(7, [box(0, 0, 8, 6)])], [CocoObject(7, [box(0, 0, 8, 6)]), crowd]):
        assert (draw_objects(objects, SIZE_HW) == 7).all()
    ids = draw_objects([CocoObject(7, [box(1, 1, 2, 2)]), crowd], SIZE_HW)
    assert (ids == 255).sum() == ring().sum() - 1
    assert ids[1, 1] == 7


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory of a process from Linux")
def test_the_memory_does_not_grow_with_the_number_of_objects():
    program = """
from pathlib import Path
from clipes_core.encodings.coco_objects import CocoObject, draw_objects

def peak_mib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

def draw(count):
    polygon, rle = [[0, 0, 3000, 0, 3000, 2000]], {"size": [2000, 3000], "counts": [1000, 5_000_000, 999_000]}
    draw_objects([CocoObject(1, (polygon, rle)[place % 2]) for place in range(count)], (2000, 3000))
    return peak_mib()

first = draw(2)
print(draw(60) - first)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 100  # MiB; the masks of 60 objects need 343 MiB


def test_a_photo_without_objects_is_background():
    assert (draw_objects([], SIZE_HW) == 0).all()


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "the segmentation is empty"),
        (None, "the segmentation must be a list of polygons, or an RLE with size and counts"),
        ([[]], "a polygon is 0 numbers: it needs x and y of at least 3 points"),
        ([[0, 0, 4, 4]], "a polygon is 4 numbers: it needs x and y of at least 3 points"),
        ([[0, 0, 4, 4, 3, 1, 2]], "a polygon is 7 numbers: it needs x and y of at least 3 points"),
        ([0, 0, 4, 4, 3, 1], "a polygon is 0: it needs x and y of at least 3 points"),
        ([[0, 0, 4, 4, 3, "1"]], "a polygon has values that are not numbers"),
        ([[0, 0, 4, 4, 3, True]], "a polygon has values that are not numbers"),
        ([[0, 0, 4, 4, 3, float("nan")]], "a polygon has a coordinate that is not within 100000 pixels"),
        ([[0, 0, 4, 4, 3, 10**400]], "a polygon has a coordinate that is not within 100000 pixels"),
        ({"size": [8, 6], "counts": [48]}, "an RLE has the size [8, 6], and the photo has the height and width [6, 8]"),
        ({"counts": [48]}, "an RLE has the size None, and the photo has the height and width [6, 8]"),
        ({"size": [6, 8], "counts": [40]}, "the counts of an RLE add up to 40, and the photo has 48 pixels"),
        ({"size": [6, 8], "counts": [40, 9]}, "the counts of an RLE add up to 49, and the photo has 48 pixels"),
        ({"size": [6, 8], "counts": []}, "the counts of an RLE add up to 0, and the photo has 48 pixels"),
        ({"size": [6, 8], "counts": [50, -2]}, "an RLE has counts that are not lengths of runs"),
        ({"size": [6, 8], "counts": [1.5]}, "an RLE has counts that are not lengths of runs"),
        ({"size": [6, 8], "counts": 48}, "an RLE has counts that are not lengths of runs"),
        ({"size": [6, 8], "counts": ""}, "the counts of an RLE add up to 0, and the photo has 48 pixels"),
        ({"size": [6, 8], "counts": "~"}, "an RLE has an invalid compressed text"),
        ({"size": [6, 8], "counts": "o" * 99}, "an RLE has an invalid compressed text"),
        ({"size": [6, 8], "counts": "oo"}, "an RLE has a compressed text that is cut off"),
    ],
)
def test_an_invalid_outline_is_refused_with_the_reason(segmentation, reason):
    with pytest.raises(PhotoError) as error:
        object_mask(segmentation, SIZE_HW)
    assert (error.value.kind, error.value.reason) == (
        ErrorKind.BAD_TRUTH,
        f"an annotation: {reason}; correct the annotation file",
    )


def test_the_reason_names_the_annotation():
    with pytest.raises(PhotoError) as error:
        draw_objects([CocoObject(1, [box(0, 0, 2, 2)]), CocoObject(1, [], name="annotation 12")], SIZE_HW)
    assert error.value.reason == "annotation 12: the segmentation is empty; correct the annotation file"


def test_a_photo_of_a_senseless_size_is_refused():
    with pytest.raises(PhotoError, match="states 1000000x1000000 pixels, and a true mask has at most"):
        draw_objects([], (10**6, 10**6))
