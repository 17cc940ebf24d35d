"""Draw the true mask of a photo from the outlines of its objects, as the annotation files of COCO state them.

Outlines are polygons, or the run lengths of a mask (RLE) as a list or as a compressed text. pycocotools decides which
pixels are inside a polygon, so that the masks of objects are those of COCO's own program.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.pseudo_mask import IGNORE_INDEX

LARGEST_COORDINATE = 100_000  # px; pycocotools needs memory for each pixel along an edge
MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
class CocoObject:
    """An object of a photo.

    Attributes:
        class_id: data set id 1..K.
        segmentation: value of `segmentation` in its annotation: a list of polygons, or an RLE.
        is_crowd: if True, the outline is that of a group of objects that are not outlined one by one.
        name: name of the annotation in error messages.
    """

    class_id: int
    segmentation: Any
    is_crowd: bool = False
    name: str = "an annotation"


def draw_objects(objects: Iterable[CocoObject], size_hw: tuple[int, int]) -> np.ndarray:
    """Draw the true mask of a photo.

    Objects are drawn over each other. Crowds come first, as 255, because their outlines are rough; an object within a
    crowd that has its own outline keeps its class. The other objects follow, the largest area first, because the
    smaller of two overlapping objects is usually in front. Objects of the same area are drawn in the given order.

    Args:
        objects: objects of the photo, in the order of the annotation file.
        size_hw: height and width of the photo [px].

    Returns:
        (H, W) uint8 ids: 0 background, 1..K classes, 255 crowds.

    Raises:
        PhotoError: BAD_TRUTH; an outline is invalid, or the photo is too large.
    """
    height, width = size_hw
    if height * width > MOST_PIXELS:
        raise _bad(f"the annotation file states {width}x{height} pixels, and a true mask has at most {MOST_PIXELS}")
    ids = np.zeros(size_hw, np.uint8)
    encoded = [(each, _named_rle(each, size_hw)) for each in objects]  # as masks, 200 objects may need gigabytes
    for each, rle in sorted(encoded, key=lambda one: (not one[0].is_crowd, -int(coco_mask.area(one[1])))):
        ids[coco_mask.decode(rle).view(bool)] = IGNORE_INDEX if each.is_crowd else each.class_id
    return ids


def _named_rle(each: CocoObject, size_hw: tuple[int, int]) -> dict[str, Any]:
    try:
        return _object_rle(each.segmentation, size_hw)
    except PhotoError as error:
        raise PhotoError(error.kind, f"{each.name}: {error.reason}; correct the annotation file") from error


def _object_rle(segmentation: Any, size_hw: tuple[int, int]) -> dict[str, Any]:
    """Return the pixels of an object as a checked RLE of pycocotools."""
    if isinstance(segmentation, list):
        return _polygons_rle(segmentation, size_hw)
    if isinstance(segmentation, dict):
        return _checked_rle(segmentation, size_hw)
    raise _bad("the segmentation must be a list of polygons, or an RLE with size and counts")


def _polygons_rle(polygons: Sequence[Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    if not polygons:
        raise _bad("the segmentation is empty")
    checked = [_checked_polygon(polygon) for polygon in polygons]
    return coco_mask.merge(coco_mask.frPyObjects(checked, *size_hw))


def _checked_polygon(polygon: Any) -> list[float]:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        found = f"{len(polygon)} numbers" if isinstance(polygon, list) else repr(polygon)
        raise _bad(f"a polygon is {found}: it needs x and y of at least 3 points")
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in polygon):
        raise _bad("a polygon has values that are not numbers")
    if not all(abs(number) <= LARGEST_COORDINATE for number in polygon):  # False for NaN, too
        raise _bad(f"a polygon has a coordinate that is not within {LARGEST_COORDINATE} pixels")
    return [float(number) for number in polygon]


def _checked_rle(rle: dict[str, Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    height, width = size_hw
    if rle.get("size") != [height, width]:
        raise _bad(f"an RLE has the size {rle.get('size')}, and the photo has the height and width {[height, width]}")
    counts = rle.get("counts")
    lengths = decompressed_counts(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(each) is int and 0 <= each <= height * width for each in lengths):
        raise _bad("an RLE has counts that are not lengths of runs")
    if sum(lengths) != height * width:
        raise _bad(f"the counts of an RLE add up to {sum(lengths)}, and the photo has {height * width} pixels")
    return coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)


def decompressed_counts(text: str) -> list[int]:
    """Return the lengths of runs that COCO's compressed text stands for.

    Each character from `0` on encodes five bits of a number, the lowest first, and a flag for "more characters follow".
    The highest bit of a number is its sign. From the fourth number on, the previous length but one must be added to
    the number.

    Raises:
        PhotoError: BAD_TRUTH; the text is invalid.
    """
    counts: list[int] = []
    number = bits = 0
    for character in text:
        value = ord(character) - ord("0")
        if not 0 <= value < 64 or bits > 60:
            raise _bad("an RLE has an invalid compressed text")
        number |= (value & 31) << bits
        bits += 5
        if value & 32:
            continue
        if value & 16:
            number -= 1 << bits
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = bits = 0
    if bits:
        raise _bad("an RLE has a compressed text that is cut off")
    return counts


def _bad(reason: str) -> PhotoError:
    return PhotoError(ErrorKind.BAD_TRUTH, reason)
