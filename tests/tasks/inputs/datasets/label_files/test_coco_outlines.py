import hashlib

from clipes.tasks.inputs.datasets.label_files.coco_outlines import DRAWING
from clipes_core.encodings.coco_objects import CocoObject, draw_objects

OBJECTS = (
    CocoObject(3, [[2.5, 3.25, 30.1, 5.7, 25.9, 28.2, 7.3, 22.8], [1, 1, 9, 1, 9, 4]]),
    CocoObject(7, {"size": [40, 50], "counts": [300, 900, 800]}, is_crowd=True),
    CocoObject(80, {"size": [40, 50], "counts": "U:4T1" + "0" * 61 + "[<"}),
    CocoObject(1, [[20, 10, 48.5, 12.5, 33.3, 39.9]]),
)


def test_drawn_masks_do_not_change_without_a_new_number():
    """If you change how masks are drawn, increment DRAWING, so that no earlier mask or score is reused."""
    digest = hashlib.sha256(draw_objects(OBJECTS, (40, 50)).tobytes()).hexdigest()[:16]
    assert (DRAWING, digest) == (1, "8733b11845d9f362")
