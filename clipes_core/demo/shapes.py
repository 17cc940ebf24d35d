"""The eight kinds of objects in the demo's scenes, drawn as polygons with random proportions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

Rng = np.random.Generator


class Paint(IntEnum):
    """The kinds of paint that can fill a part of an object."""

    BODY = 1  # the object's own colour
    ACCENT = 2  # the object's second colour
    DARK = 3  # tyres, doors, eyes
    GLASS = 4  # windows
    LIGHT = 5  # hubs, lamps
    WOOD = 6  # masts, baskets, stems, beaks


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an object: a polygon that is filled with one paint.

    Attributes:
        outline: (N, 2) float64 corners (x, y); y points down, and one unit is about half the size of the object.
        paint: paint that fills the polygon.
    """

    outline: np.ndarray
    paint: Paint


def polygon(paint: Paint, *corners: tuple[float, float]) -> Part:
    """Return a polygon with the given corners (x, y)."""
    return Part(np.array(corners, dtype=np.float64), paint)


def box(paint: Paint, left: float, top: float, right: float, bottom: float) -> Part:
    """Return a rectangle whose sides are horizontal and vertical."""
    return polygon(paint, (left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(paint: Paint, x: float, y: float, radius_x: float, radius_y: float) -> Part:
    """Return an ellipse with horizontal and vertical axes, as a polygon with 24 corners."""
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    return Part(np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1), paint)


def car(rng: Rng) -> list[Part]:
    """Draw a car: a low body, a cabin with two windows, a lamp, two wheels."""
    roof, hood, radius = rng.uniform(0.55, 0.7), rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.27)
    back = -rng.uniform(0.6, 0.85)
    cabin = polygon(Paint.BODY, (back, 0), (back + 0.2, -roof), (0.2, -roof), (hood, 0))
    rear_window = polygon(
        Paint.GLASS, (back + 0.15, -0.06), (back + 0.28, -roof + 0.1), (-0.2, -roof + 0.1), (-0.2, -0.06)
    )
    front_window = polygon(Paint.GLASS, (-0.1, -0.06), (-0.1, -roof + 0.1), (0.16, -roof + 0.1), (hood - 0.14, -0.06))
    body = polygon(Paint.BODY, (-1, 0.05), (-0.95, -0.08), (0.85, -0.08), (1, 0.1), (1, 0.42), (-1, 0.42))
    lamp = ellipse(Paint.LIGHT, 0.93, 0.14, 0.06, 0.07)
    return [cabin, body, rear_window, front_window, lamp, *_wheels(rng.uniform(0.5, 0.62), 0.42, radius)]


def bus(rng: Rng) -> list[Part]:
    """Draw a bus: a tall box with a stripe, a row of windows, a door, two wheels."""
    top, windows = -rng.uniform(0.55, 0.8), int(rng.integers(3, 6))
    parts = [box(Paint.BODY, -1, top, 1, 0.42), box(Paint.ACCENT, -1, 0.1, 1, 0.24)]
    edges = np.linspace(-0.92, 0.62, windows + 1)
    parts += [box(Paint.GLASS, left + 0.04, top + 0.12, right - 0.04, -0.05) for left, right in pairwise(edges)]
    parts.append(box(Paint.DARK, 0.68, top + 0.14, 0.9, 0.42))
    return parts + _wheels(rng.uniform(0.5, 0.6), 0.42, rng.uniform(0.15, 0.2))


def boat(rng: Rng) -> list[Part]:
    """Draw a boat: a hull, a mast, one or two sails."""
    height, hull = rng.uniform(0.9, 1.2), rng.uniform(0.28, 0.4)
    parts = [
        polygon(Paint.BODY, (-1, 0.35), (1, 0.35), (0.65, 0.35 + hull), (-0.7, 0.35 + hull)),
        box(Paint.WOOD, -0.05, -height, 0.03, 0.36),
        polygon(Paint.ACCENT, (0.06, -height + 0.05), (0.06, 0.2), (rng.uniform(0.6, 0.9), 0.2)),
    ]
    if rng.random() < 0.6:
        parts.append(polygon(Paint.LIGHT, (-0.08, -0.8 * height), (-0.08, 0.2), (-rng.uniform(0.45, 0.75), 0.2)))
    return parts


def house(rng: Rng) -> list[Part]:
    """Draw a house: walls, a gabled roof, a door, one or two windows."""
    width, eaves, ridge = rng.uniform(0.7, 0.95), -rng.uniform(0.05, 0.3), -rng.uniform(0.75, 1.0)
    door = rng.uniform(-0.5, 0.2) * width
    parts = [
        box(Paint.BODY, -width, eaves, width, 0.8),
        polygon(Paint.ACCENT, (-width - 0.12, eaves), (0, ridge), (width + 0.12, eaves)),
        box(Paint.DARK, door - 0.14, 0.3, door + 0.14, 0.8),
        box(Paint.GLASS, width - 0.42, eaves + 0.2, width - 0.12, eaves + 0.5),
    ]
    if rng.random() < 0.5:
        parts.append(box(Paint.GLASS, -width + 0.1, eaves + 0.2, -width + 0.4, eaves + 0.5))
    return parts


def bird(rng: Rng) -> list[Part]:
    """Draw a bird: a body, a tail, a wing, a head with a beak and an eye."""
    fat, lift = rng.uniform(0.32, 0.45), rng.uniform(0.1, 0.5)
    return [
        polygon(Paint.BODY, (-0.5, 0.0), (-1.05, -rng.uniform(0.0, 0.3)), (-1.0, 0.28), (-0.5, 0.25)),
        ellipse(Paint.BODY, 0, 0.1, 0.65, fat),
        ellipse(Paint.BODY, 0.6, -0.25, 0.28, 0.27),
        polygon(Paint.WOOD, (0.83, -0.33), (1.12, -0.2), (0.83, -0.14)),
        polygon(Paint.ACCENT, (0.25, 0.05), (-0.2, -0.1 - lift), (-0.65, -0.15 - lift), (-0.35, 0.2)),
        ellipse(Paint.DARK, 0.66, -0.3, 0.06, 0.06),
    ]


def fish(rng: Rng) -> list[Part]:
    """Draw a fish: a body, a tail, two fins, an eye."""
    fat = rng.uniform(0.38, 0.55)
    return [
        polygon(
            Paint.ACCENT, (-0.55, 0.02), (-1.05, -rng.uniform(0.3, 0.5)), (-0.9, 0), (-1.05, rng.uniform(0.3, 0.5))
        ),
        polygon(Paint.ACCENT, (-0.3, -0.8 * fat), (0.05, -fat - 0.25), (0.35, -0.8 * fat)),
        ellipse(Paint.BODY, 0.1, 0, 0.78, fat),
        polygon(Paint.ACCENT, (0.05, 0.05), (-0.3, 0.2), (-0.2, -0.05)),
        ellipse(Paint.LIGHT, 0.55, -0.1, 0.11, 0.11),
        ellipse(Paint.DARK, 0.57, -0.1, 0.06, 0.06),
    ]


def balloon(rng: Rng) -> list[Part]:
    """Draw a balloon: a striped envelope, ropes, a basket."""
    wide = rng.uniform(0.62, 0.8)
    return [
        polygon(Paint.WOOD, (-0.3, 0.3), (-0.12, 0.8), (-0.07, 0.8), (-0.2, 0.3)),
        polygon(Paint.WOOD, (0.3, 0.3), (0.12, 0.8), (0.07, 0.8), (0.2, 0.3)),
        ellipse(Paint.BODY, 0, -0.3, wide, 0.72),
        polygon(Paint.BODY, (-0.9 * wide, 0), (0.9 * wide, 0), (0.22, 0.52), (-0.22, 0.52)),
        ellipse(Paint.ACCENT, 0, -0.3, 0.3 * wide, 0.72),
        box(Paint.WOOD, -0.17, 0.75, 0.17, 1.02),
    ]


def cat(rng: Rng) -> list[Part]:
    """Draw a cat: a body with legs, a raised tail, a head with ears, eyes and a muzzle."""
    back, tail = rng.uniform(0.26, 0.36), rng.uniform(0.4, 0.8)
    return [
        polygon(Paint.BODY, (-0.6, 0.1), (-1.0, -tail), (-0.86, -tail - 0.06), (-0.42, 0.05)),
        box(Paint.BODY, -0.6, 0.1, -0.42, 0.8),
        box(Paint.BODY, -0.3, 0.2, -0.12, 0.8),
        box(Paint.BODY, 0.22, 0.2, 0.4, 0.8),
        ellipse(Paint.BODY, -0.1, 0.15, 0.62, back),
        polygon(Paint.ACCENT, (0.3, -0.35), (0.32, -0.92), (0.55, -0.6)),
        polygon(Paint.ACCENT, (0.98, -0.35), (0.96, -0.92), (0.73, -0.6)),
        ellipse(Paint.BODY, 0.64, -0.32, 0.4, 0.36),
        ellipse(Paint.DARK, 0.5, -0.38, 0.06, 0.08),
        ellipse(Paint.DARK, 0.8, -0.38, 0.06, 0.08),
        ellipse(Paint.LIGHT, 0.65, -0.18, 0.14, 0.09),
    ]


def _wheels(apart: float, y: float, radius: float) -> list[Part]:
    return [
        ellipse(paint, x, y, share * radius, share * radius)
        for x in (-apart, apart)
        for paint, share in ((Paint.DARK, 1.0), (Paint.LIGHT, 0.45))
    ]


SHAPES: dict[str, Callable[[Rng], list[Part]]] = {
    shape.__name__: shape for shape in (car, bus, boat, house, bird, fish, balloon, cat)
}
