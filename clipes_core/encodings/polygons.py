"""Polygons that reproduce a binary mask exactly, also if it has holes and single pixels."""

from collections import defaultdict
from collections.abc import Iterator

import cv2
import numpy as np

from clipes_core.errors import ShapeError

Pixel = tuple[int, int]  # column x, row y
Joints = dict[int, dict[int, int]]  # contour -> place in the contour -> hole that a bridge joins there
FEWEST_POINTS = 3  # readers of polygons refuse or misread shorter ones


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Return one polygon for each connected region of a binary mask. Pixels that touch at a corner are connected.

    The points are pixels of the region's border. A hole is joined to the contour around it by a bridge: the polygon
    runs along a row of the region to the hole, around the hole, and back along the same row. `cv2.fillPoly` of one
    polygon therefore gives exactly the pixels of its region. A region of one or two pixels has repeated points.

    Args:
        mask: (H, W) bool.

    Returns:
        A polygon for each region: (N, 2) int64 columns x and rows y [px], with N >= 3.

    Raises:
        ShapeError: `mask` is not (H, W) bool.
    """
    if mask.ndim != 2 or mask.dtype != bool:
        raise ShapeError(f"mask must be (H, W) bool, got {mask.shape} {mask.dtype}")
    padded = np.pad(mask, 1).astype(np.uint8)  # so that the surroundings of the mask are one region
    found, hierarchy = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not found:
        return []
    parents = hierarchy.reshape(-1, 4)[:, 3].tolist()  # -1 for the outer contour of a region
    contours = [contour.reshape(-1, 2) for contour in found]
    joints = _joints(padded, contours, parents) if max(parents) >= 0 else {}
    walks = (_walk(contours, joints, outer) for outer, parent in enumerate(parents) if parent < 0)
    return [_simplified(np.concatenate(list(walk))) - 1 for walk in walks]


def _joints(padded: np.ndarray, contours: list[np.ndarray], parents: list[int]) -> Joints:
    """Return where a bridge joins each hole to the contour to the left of it.

    The hole lies to the right of the leftmost pixel of its contour. From this pixel, the bridge runs to the left until
    the region ends. The last pixel belongs to the outer contour of the region, or to the contour of another hole, which
    reaches further to the left. Bridges can therefore not form a cycle.
    """
    _, areas = cv2.connectedComponents(1 - padded, connectivity=4)  # of the pixels that are not in the mask
    starts = {hole: contours[hole][_leftmost(contours[hole])] for hole, parent in enumerate(parents) if parent >= 0}
    owners = {(parents[hole], areas[y, x + 1]): hole for hole, (x, y) in starts.items()}
    places: dict[int, dict[Pixel, int]] = {}
    joints: Joints = defaultdict(dict)
    for hole, (x, y) in starts.items():
        end = x - int(padded[y, x::-1].argmin())  # the first column to the left that is not in the mask
        target = owners.get((parents[hole], areas[y, end]), parents[hole])
        if target not in places:
            places[target] = {(px, py): place for place, (px, py) in enumerate(contours[target].tolist())}
        joints[target][places[target][end + 1, y]] = hole
    return joints


def _leftmost(contour: np.ndarray) -> int:
    return int(contour[:, 0].argmin())


def _walk(contours: list[np.ndarray], joints: Joints, outer: int) -> Iterator[np.ndarray]:
    """Yield the points of an outer contour, and of all holes that bridges join to it, in pieces."""
    tours = [_tour(contours[outer], joints.get(outer, {}), 0)]
    while tours:  # not a recursion, because holes can be joined in long chains
        for piece, hole in tours[-1]:
            yield piece
            if hole is not None:
                start = _leftmost(contours[hole])
                tours.append(_tour(contours[hole], _shifted(joints.get(hole, {}), start, len(contours[hole])), start))
                break
        else:
            tours.pop()


def _tour(contour: np.ndarray, joints: dict[int, int], start: int) -> Iterator[tuple[np.ndarray, int | None]]:
    """Yield the pieces of a contour from joint to joint, each with the hole to visit after it; end at the start."""
    points = np.concatenate([contour[start:], contour[: start + 1]])
    last = 0
    for place, hole in sorted(joints.items()):
        yield points[last : place + 1], hole
        last = place
    yield points[last:], None


def _shifted(joints: dict[int, int], start: int, count: int) -> dict[int, int]:
    """Return joints with places that count from the start of a tour."""
    return {(place - start) % count: hole for place, hole in joints.items()}


def _simplified(points: np.ndarray) -> np.ndarray:
    """Remove the points of a closed polygon at which its direction does not change; repeat points if few remain."""
    moved = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    directions = np.sign(np.roll(moved, -1, axis=0) - moved)
    turns = (directions != np.roll(directions, 1, axis=0)).any(axis=1)
    kept = moved[turns] if len(moved) else points[:1]
    return np.resize(kept, (max(FEWEST_POINTS, len(kept)), 2)).astype(np.int64)
