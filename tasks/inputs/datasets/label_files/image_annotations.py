"""What clipes keeps of the annotations of a COCO file while it lists the photos: a few bytes per annotation."""

import hashlib
from array import array
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clipes.tasks.inputs.datasets.label_files.json_stream import Item

DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Outlines:
    """Where the outlines of the objects of an image are in its annotation file.

    Attributes:
        spans: offset and size [bytes] of each annotation, as pairs of little-endian int64.
        digest: text that changes when one of these annotations changes.
    """

    spans: bytes
    digest: str


class ImageAnnotations:
    """The annotations of all images. The outlines of the objects, which are most of the file, stay in the file.

    Call `add` for all annotations before the other methods.

    Attributes:
        categories: image id -> ids of the categories of its annotations, unique, in order of first appearance.
    """

    def __init__(self) -> None:
        self.categories: dict[Any, dict[Any, None]] = defaultdict(dict)
        self._numbers: dict[Any, int] = {}  # image id -> number of the image in the columns below
        self._images, self._spans = array("q"), array("q")
        self._digests, self._outlined = bytearray(), bytearray()

    def add(self, item: Item) -> None:
        """Add an annotation whose record is valid."""
        image_id, text = item.value["image_id"], item.text.encode()
        self.categories[image_id][item.value["category_id"]] = None
        self._images.append(self._numbers.setdefault(image_id, len(self._numbers)))
        self._spans.extend((item.offset, len(text)))
        self._digests += hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()
        self._outlined.append(bool(item.value.get("segmentation")))

    @cached_property
    def any_outlined(self) -> bool:
        """True if an object has an outline."""
        return any(self._outlined)

    def lacks_outlines(self, image_id: Any) -> bool:
        """Return whether an object of an image has no outline."""
        return not all(self._outlined[number] for number in self._of(image_id))

    def outlines(self, image_id: Any) -> Outlines | None:
        """Return the outlines of an image; None if the file has no outlines, or if an object of the image has none."""
        if not self.any_outlined or self.lacks_outlines(image_id):
            return None
        own = self._of(image_id)
        spans = np.array([self._spans[2 * number : 2 * number + 2] for number in own], "<i8")
        digests = (self._digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)] for number in own)
        return Outlines(spans.tobytes(), hashlib.sha256(b"".join(digests)).hexdigest())

    def _of(self, image_id: Any) -> list[int]:
        """Return the numbers of the annotations of an image, in the file's order."""
        image = self._numbers.get(image_id)
        return [] if image is None else self._order[slice(*self._bounds[image : image + 2])].tolist()

    @cached_property
    def _order(self) -> np.ndarray:
        """The numbers of all annotations, by image."""
        return np.argsort(np.frombuffer(self._images, np.int64), kind="stable")

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Where the annotations of each image begin in `_order`, and where those of the last image end."""
        counts = np.bincount(np.frombuffer(self._images, np.int64), minlength=len(self._numbers))
        return np.concatenate([[0], counts.cumsum()])
