"""Random scenes of one to three objects on a textured background, with their true masks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from clipes_core.demo.backgrounds import BACKGROUNDS, cloudy, texture
from clipes_core.demo.shapes import SHAPES, Paint, Part

CLASS_NAMES = tuple(SHAPES)  # in the order of the class ids 1..8
OWN_BACKGROUND = {
    "car": "road",
    "bus": "road",
    "boat": "water",
    "house": "grass",
    "bird": "sky",
    "fish": "water",
    "balloon": "sky",
    "cat": "wall",
}
OWN_BACKGROUND_RATE = 0.6
OBJECT_COUNT_RATES = (0.45, 0.35, 0.2)  # shares of the scenes that have 1, 2 and 3 objects
AREA_RANGE = (0.055, 0.38)  # smallest and largest area of an object, as a share of the scene
MAX_OVERLAP = 0.2  # largest share of an object's pixels that other objects may hide
COLOURS = {
    "red": (200, 40, 40),
    "orange": (235, 135, 40),
    "yellow": (240, 215, 60),
    "green": (50, 150, 70),
    "blue": (45, 80, 190),
    "purple": (130, 60, 160),
    "pink": (235, 140, 175),
    "brown": (120, 75, 45),
    "white": (240, 240, 240),
    "black": (40, 40, 45),
}
FIXED_PAINTS = {
    Paint.DARK: (35, 35, 40),
    Paint.GLASS: (175, 205, 220),
    Paint.LIGHT: (225, 225, 220),
    Paint.WOOD: (190, 130, 60),
}
PLACES_TRIED = 40
SHIFT = 4  # number of fractional bits in the coordinates that OpenCV's drawing functions get

Rng = np.random.Generator


@dataclass(frozen=True)
class SceneObject:
    """An object of a scene.

    Attributes:
        name: name of the object's class.
        colour: colour of the object's body, a key of COLOURS.
        area: area of the whole object, including its hidden parts, as a share of the scene.
        hidden: share of the object's pixels that are hidden by objects in front of this object.
    """

    name: str
    colour: str
    area: float
    hidden: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its content.

    Attributes:
        image_rgb: (S, S, 3) uint8 RGB, [0, 255].
        truth: (S, S) uint8, 0 for background, 1..8 for the classes in the order of CLASS_NAMES.
        objects: one to three objects, from back to front. Several of them may have the same class.
        background: kind of the background, a key of BACKGROUNDS.
    """

    image_rgb: np.ndarray
    truth: np.ndarray
    objects: tuple[SceneObject, ...]
    background: str


@dataclass(frozen=True, eq=False)
class _Placed:
    """An object at its position: its parts in pixels, and the (S, S) bool mask of the pixels that it covers."""

    name: str
    parts: list[Part]
    inside: np.ndarray

    @property
    def pixels(self) -> int:
        return int(np.count_nonzero(self.inside))


def make_scene(rng: Rng, size: int) -> Scene:
    """Draw a random scene.

    On average, 60 % of the objects are on the usual background of their class. For example, the usual background of a
    boat is water. The area of an object is about 5 to 40 % of the scene. At most a fifth of an object is hidden by
    other objects.

    Args:
        rng: source of all randomness.
        size: side length S of the square scene [px].
    """
    background, names = _cast(rng)
    placed = _placed(rng, names, size)
    image = np.clip(BACKGROUNDS[background](rng, size), 0, 255).astype(np.uint8)
    truth = np.zeros((size, size), np.uint8)
    objects = []
    for index, one in enumerate(placed):
        colour = list(COLOURS)[rng.integers(len(COLOURS))]
        _paint(rng, image, one, colour)
        truth[one.inside] = CLASS_NAMES.index(one.name) + 1
        hidden = _share_hidden(one, placed[index + 1 :])
        objects.append(SceneObject(one.name, colour, one.pixels / size**2, hidden))
    return Scene(_photographed(rng, image), truth, tuple(objects), background)


def scene_of_seed(seed: Sequence[int], size: int) -> Scene:
    """Draw the scene of a seed, which is a sequence of one or more integers. Equal seeds give equal scenes."""
    return make_scene(np.random.default_rng(seed), size)


def _cast(rng: Rng) -> tuple[str, list[str]]:
    """Choose a random background, and random classes for one to three objects.

    OWN_BACKGROUND_RATE is the average share of objects that stand on the usual background of their class.
    """
    backgrounds = list(BACKGROUNDS)
    other = (1 - OWN_BACKGROUND_RATE) / (len(backgrounds) - 1)
    joint = np.array(
        [[OWN_BACKGROUND_RATE if own == place else other for own in OWN_BACKGROUND.values()] for place in backgrounds]
    )
    joint /= joint.sum()
    background = rng.choice(len(backgrounds), p=joint.sum(axis=1))
    count = 1 + rng.choice(len(OBJECT_COUNT_RATES), p=OBJECT_COUNT_RATES)
    classes = rng.choice(len(CLASS_NAMES), size=count, p=joint[background] / joint[background].sum())
    return backgrounds[background], [CLASS_NAMES[index] for index in classes]


def _placed(rng: Rng, names: list[str], size: int) -> list[_Placed]:
    """Place objects at random positions. At most the share MAX_OVERLAP of each object is hidden.

    If the objects do not fit, the function reduces the largest permitted area of an object, and tries again.
    """
    low, high = AREA_RANGE
    while True:
        placed: list[_Placed] = []
        for name in names:
            area = low * (high / low) ** rng.uniform()
            if (one := _place(rng, name, area, size, placed)) is None:
                break
            placed.append(one)
        else:
            return placed
        high = max(0.8 * high, 1.3 * low)


def _place(rng: Rng, name: str, area: float, size: int, others: list[_Placed]) -> _Placed | None:
    parts, turn = SHAPES[name](rng), rng.uniform(-0.4, 0.4)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    turned = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) * [[mirror], [1.0]]
    outlines = [part.outline @ turned for part in parts]
    corners = np.concatenate(outlines)
    scale = size * math.sqrt(area / _unit_area(outlines))
    low, high = scale * corners.min(axis=0), scale * corners.max(axis=0)
    if (high - low > size).any():
        return None
    for _ in range(PLACES_TRIED):
        middle = rng.uniform(-low, size - high)
        moved = [scale * outline + middle for outline in outlines]
        at_place = [Part(outline, part.paint) for outline, part in zip(moved, parts, strict=True)]
        one = _Placed(name, at_place, _covered(moved, size))
        stack = [*others, one]
        if all(_share_hidden(each, stack[place + 1 :]) <= MAX_OVERLAP for place, each in enumerate(others)):
            return one
    return None


def _unit_area(outlines: list[np.ndarray], resolution: int = 64) -> float:
    """Return the area of the union of polygons, in the squared unit of their coordinates."""
    pixel = 3.2 / resolution  # all shapes lie within 1.6 units of the origin
    covered = _covered([(outline + 1.6) / pixel for outline in outlines], resolution)
    return np.count_nonzero(covered) * pixel**2


def _covered(outlines: list[np.ndarray], size: int) -> np.ndarray:
    inside = np.zeros((size, size), np.uint8)
    for outline in outlines:
        cv2.fillPoly(inside, [_corners(outline)], 1, shift=SHIFT)
    return inside.view(bool)


def _corners(outline: np.ndarray) -> np.ndarray:
    return np.round(outline * (1 << SHIFT)).astype(np.int32)


def _share_hidden(one: _Placed, later: list[_Placed]) -> float:
    if not later:
        return 0.0
    over = np.logical_or.reduce([other.inside for other in later])
    return float(np.count_nonzero(over & one.inside) / one.pixels)


def _paint(rng: Rng, image: np.ndarray, one: _Placed, colour: str) -> None:
    """Draw an object on an (S, S, 3) uint8 image, and shade the object with a random texture."""
    accent = list(COLOURS.values())[rng.integers(len(COLOURS))]
    palette = {**FIXED_PAINTS, Paint.BODY: COLOURS[colour], Paint.ACCENT: accent}
    varied = {paint: (np.array(rgb) + rng.uniform(-15, 15, 3)).tolist() for paint, rgb in palette.items()}
    for part in one.parts:
        cv2.fillPoly(image, [_corners(part.outline)], varied[part.paint], cv2.LINE_AA, SHIFT)
    shade = 1 + rng.uniform(0.03, 0.16) * texture(rng, len(image))
    image[one.inside] = np.clip(image[one.inside] * shade[one.inside][:, None], 0, 255)


def _photographed(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Return the image, (S, S, 3) uint8, with uneven light, a tint and a little noise added."""
    light = 1 + 0.12 * cloudy(rng, len(image), (1, 1))
    tint = rng.uniform(0.92, 1.08, 3).astype(np.float32)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(1, 4)
    return np.clip(image * light[..., None] * tint + noise, 0, 255).astype(np.uint8)
