"""Encode masks of ids as palette PNGs, and confidence maps as greyscale PNGs; resize both."""

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
