import cv2
import numpy as np
import pytest

from clipes_core.encodings.polygons import polygons
from clipes_core.errors import ShapeError


def drawn(shape, found):
    """Draw each polygon on its own, and check that the polygons do not overlap."""
    total = np.zeros(shape, np.uint8)
    for polygon in found:
        canvas = np.zeros(shape, np.uint8)
        cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
        total += canvas
    assert total.max(initial=0) <= 1
    return total.astype(bool)


def check(mask):
    found = polygons(mask)
    assert (drawn(mask.shape, found) == mask).all()
    assert len(found) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert all(polygon.ndim == 2 and len(polygon) >= 3 for polygon in found)
    return found


def test_a_rectangle_has_its_corners():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:6] = True
    (polygon,) = check(mask)
    assert sorted(map(tuple, polygon.tolist())) == [(2, 1), (2, 3), (5, 1), (5, 3)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (300, 1)])
def test_full_masks_of_any_shape(shape):
    (polygon,) = check(np.ones(shape, bool))
    assert polygon.max(axis=0).tolist() == [shape[1] - 1, shape[0] - 1]


def test_an_empty_mask_has_no_polygon():
    assert polygons(np.zeros((4, 5), bool)) == []


def test_a_ring_and_nested_rings_keep_their_holes():
    rows, columns = np.mgrid[:101, :101]
    radius = np.hypot(rows - 50, columns - 50)
    (ring,) = check((radius > 20) & (radius < 40))
    assert len(ring) < 300
    assert len(check((radius // 5) % 2 == 1)) > 4


def test_holes_that_touch_and_rows_of_holes():
    mask = np.ones((9, 400), bool)
    mask[4, 2:-2:2] = False
    mask[3, 3:-2:4] = False
    check(mask)
    check(np.ones((50, 50), bool) & ~np.eye(50, dtype=bool))
    chess = np.indices((40, 41)).sum(axis=0) % 2 == 0
    assert len(check(chess)) == 1
    check(~chess)


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.6, 0.8, 0.97])
def test_random_masks(density):
    generator = np.random.default_rng(int(100 * density))
    for _ in range(150):
        check(generator.random(generator.integers(1, 24, 2)) < density)
    check(generator.random((300, 400)) < density)


def test_a_wrong_mask_is_refused():
    with pytest.raises(ShapeError, match=r"^mask must be \(H, W\) bool, got \(2, 2\) uint8$"):
        polygons(np.ones((2, 2), np.uint8))
