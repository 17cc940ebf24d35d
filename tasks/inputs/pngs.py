"""Encode masks of ids as palette PNGs, and confidence maps as greyscale PNGs; decode and resize both."""

import io

import cv2
import numpy as np
from PIL import Image


def palette_png(ids: np.ndarray, palette: np.ndarray) -> bytes:
    """Encode a mask of ids as a palette PNG.

    Args:
        ids: (H, W) uint8.
        palette: (256, 3) uint8 RGB colour of each id.
    """
    image = Image.fromarray(ids)
    image.putpalette(palette.tobytes())
    return _encode(image)


def grey_png(levels: np.ndarray) -> bytes:
    """Encode grey levels as a greyscale PNG.

    Args:
        levels: (H, W) uint8.
    """
    return _encode(Image.fromarray(levels))


def read_png_map(png: bytes) -> np.ndarray:
    """Decode a PNG with ids or grey levels, as `palette_png` and `grey_png` write it, to (H, W) uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image)


def read_palette(png: bytes) -> np.ndarray:
    """Return the palette of a PNG that `palette_png` wrote, (256, 3) uint8 RGB."""
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)


def resized_ids(ids: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a mask of ids or a map of grey levels with nearest-neighbour interpolation.

    Args:
        ids: (h, w) uint8.
        size_hw: target height and width [px].

    Returns:
        (H, W) uint8.
    """
    return cv2.resize(ids, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_NEAREST_EXACT)


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
