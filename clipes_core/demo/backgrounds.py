"""The six kinds of background of the demo's scenes, and textures for objects and backgrounds.

Each background function returns a (size, size, 3) float32 RGB image with values from about 0 to about 255.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator


def cloudy(rng: Rng, size: int, cells_hw: tuple[int, int]) -> np.ndarray:
    """Return smooth noise.

    Args:
        rng: source of randomness.
        size: side length of the square [px].
        cells_hw: numbers of rows and columns of a grid of cells. Each corner of a cell gets a random value, and the
            noise interpolates between these values. More cells give finer noise.

    Returns:
        (size, size) float32, about -1..1.
    """
    values = rng.uniform(-1, 1, (cells_hw[0] + 1, cells_hw[1] + 1)).astype(np.float32)
    return cv2.resize(values, (size, size), interpolation=cv2.INTER_CUBIC)


def waves(rng: Rng, size: int, direction: float, length: float) -> np.ndarray:
    """Return parallel stripes with soft edges.

    Args:
        rng: source of randomness; it determines the phase.
        size: side length of the square [px].
        direction: angle between the x axis and the normal of the stripes [rad].
        length: distance from one stripe to the next, as a fraction of the side length.

    Returns:
        (size, size) float32 in [-1, 1].
    """
    across = np.linspace(0, 2 * math.pi / length, size, dtype=np.float32)
    phase = rng.uniform(0, 2 * math.pi)
    return np.sin(across[None, :] * math.cos(direction) + across[:, None] * math.sin(direction) + phase)


def texture(rng: Rng, size: int) -> np.ndarray:
    """Return a random texture for an object: smooth noise, fine noise, stripes or checks.

    Returns:
        (size, size) float32, about -1..1.
    """
    kind = rng.integers(4)
    if kind == 0:
        return cloudy(rng, size, (2, 2))
    if kind == 1:
        return cloudy(rng, size, (16, 16))
    direction, length = rng.uniform(0, math.pi), rng.uniform(0.06, 0.16)
    stripes = waves(rng, size, direction, length)
    return stripes if kind == 2 else stripes * waves(rng, size, direction + math.pi / 2, length)


def _shaded(shade: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Return (H, W, 3) float32: the colour times 1 + shade. A shade of 1 doubles the colour; -1 gives black."""
    return (1 + shade)[..., None] * np.array(colour, dtype=np.float32)


def _between(share: np.ndarray, one: tuple[float, float, float], other: tuple[float, float, float]) -> np.ndarray:
    share = share[..., None]
    return share * np.array(one, dtype=np.float32) + (1 - share) * np.array(other, dtype=np.float32)


def water(rng: Rng, size: int) -> np.ndarray:
    """Draw water: blue or blue-green with long horizontal waves."""
    tilt = math.pi / 2 + rng.uniform(-0.15, 0.15)
    ripples = waves(rng, size, tilt, rng.uniform(0.05, 0.12)) * (1 + cloudy(rng, size, (4, 4))) / 2
    shade = 0.16 * ripples + 0.1 * cloudy(rng, size, (12, 3))
    return _shaded(shade, (rng.uniform(20, 60), rng.uniform(90, 140), rng.uniform(150, 200)))


def road(rng: Rng, size: int) -> np.ndarray:
    """Draw a road: grey asphalt with dashed white lines."""
    grey = rng.uniform(80, 130)
    ground = _shaded(0.08 * cloudy(rng, size, (40, 40)) + 0.08 * cloudy(rng, size, (3, 3)), (grey, grey, grey))
    slope, start, dash = rng.uniform(-0.3, 0.3), rng.uniform(0, 1), rng.uniform(0.12, 0.25)
    x, y = np.meshgrid(np.linspace(0, 1, size, dtype=np.float32), np.linspace(0, 1, size, dtype=np.float32))
    for middle in (start - 0.45, start, start + 0.45):
        line = (np.abs(y - middle - slope * (x - 0.5)) < 0.022) & ((x / dash + start) % 1 < 0.6)
        ground[line] = 225
    return ground


def grass(rng: Rng, size: int) -> np.ndarray:
    """Draw grass: green with fine upright blades."""
    shade = 0.2 * cloudy(rng, size, (10, 48)) + 0.12 * cloudy(rng, size, (4, 4))
    return _shaded(shade, (rng.uniform(60, 110), rng.uniform(120, 165), rng.uniform(30, 70)))


def sky(rng: Rng, size: int) -> np.ndarray:
    """Draw a sky: light blue, lighter at the bottom, with white clouds."""
    top = (rng.uniform(70, 120), rng.uniform(140, 180), rng.uniform(215, 245))
    height = np.broadcast_to(np.linspace(0, 1, size, dtype=np.float32)[:, None], (size, size))
    blue = _between(1 - 0.6 * height, top, (235, 240, 250))
    clouds = np.clip(1.6 * cloudy(rng, size, (4, 3)) + rng.uniform(-0.8, 0.3), 0, 0.85)[..., None]
    return blue * (1 - clouds) + 250 * clouds


def sand(rng: Rng, size: int) -> np.ndarray:
    """Draw sand: yellow with grains and low dunes."""
    dunes = waves(rng, size, rng.uniform(1.0, 2.1), rng.uniform(0.25, 0.5))
    shade = 0.09 * cloudy(rng, size, (48, 48)) + 0.07 * dunes
    return _shaded(shade, (rng.uniform(205, 230), rng.uniform(175, 195), rng.uniform(115, 145)))


def wall(rng: Rng, size: int) -> np.ndarray:
    """Draw a wall: red-brown bricks with light joints."""
    high, wide = rng.uniform(0.07, 0.11), rng.uniform(0.16, 0.26)
    x, y = np.meshgrid(np.linspace(0, 1, size, dtype=np.float32), np.linspace(0, 1, size, dtype=np.float32))
    y = y + rng.uniform(0, 1)
    course = np.floor(y / high)
    along = x / wide + 0.5 * (course % 2) + rng.uniform(0, 1)
    brick = np.sin(12.9898 * np.floor(along) + 78.233 * course).astype(np.float32)
    bricks = _shaded(0.1 * brick, (rng.uniform(140, 180), rng.uniform(70, 100), rng.uniform(55, 80)))
    bricks[(y / high % 1 < 0.14) | (along % 1 < 0.07)] = rng.uniform(180, 210)
    return bricks


BACKGROUNDS: dict[str, Callable[[Rng, int], np.ndarray]] = {
    background.__name__: background for background in (water, road, grass, sky, sand, wall)
}
