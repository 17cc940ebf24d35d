"""Pictures small enough to be embedded in an HTML file."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from clipes_core.preprocessing import limit_side

LONGER_SIDE = 320  # px; the page shows pictures at about half this size, so that they are sharp on a phone
QUALITY = 72
EFFORT = 2  # of the encoder: half of the time of the default 4, for 5 % more bytes
MISSING = (128, 128, 128)


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, and its title."""

    title: str
    uri: str


def small_photo(image: Image.Image) -> np.ndarray:
    """Reduce a photo to the size at which the report stores it.

    Returns:
        (H, W, 3) uint8 RGB. The longer side has at most `LONGER_SIDE` pixels.
    """
    return np.asarray(limit_side(image, LONGER_SIDE))


def grey_canvas(size_hw: tuple[int, int]) -> np.ndarray:
    """Return a grey picture that replaces an unreadable photo. `size_hw` is the photo's size before the reduction."""
    return small_photo(Image.new("RGB", size_hw[::-1], MISSING))


def small_ids(ids: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a map of class ids, (H, W) uint8, to `size_hw` [px], with nearest-neighbour interpolation."""
    return np.asarray(Image.fromarray(ids).resize(size_hw[::-1], Image.Resampling.NEAREST))


def small_levels(levels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a map of confidence levels, (H, W) uint8, to `size_hw` [px]. Averaging keeps thin lines visible."""
    return np.asarray(Image.fromarray(levels).resize(size_hw[::-1], Image.Resampling.BOX))


def png_map(png: bytes) -> np.ndarray:
    """Decode a PNG with class ids or confidence levels to (H, W) uint8."""
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image)


def data_uri(image: np.ndarray, lossless: bool = False) -> str:
    """Encode a picture as a data URI that holds a WebP file.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8 grey.
        lossless: if true, no pixel changes. Plots need this, because lossy compression blurs their thin lines.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(buffer, "WEBP", quality=QUALITY, lossless=lossless, method=EFFORT)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
