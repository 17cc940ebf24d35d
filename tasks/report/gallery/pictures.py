"""Pictures small enough to be embedded in an HTML file. A report takes unchanged pictures from the last report."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from clipes.tasks.plan.keys import digest
from clipes_core.preprocessing import limit_side

LONGER_SIDE = 320  # px; the page shows pictures at about half this size, so that they are sharp on a phone
QUALITY = 72
EFFORT = 2  # of the encoder: half of the time of the default 4, for 5 % more bytes
MISSING = (128, 128, 128)
IN_PAGE = re.compile(r'<img src="(data:image/webp;base64,[A-Za-z0-9+/=]+)" data-key="([0-9a-f]+)"')


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        title: title of the picture.
        uri: data URI that holds the picture.
        key: digest of everything that the picture is made from.
    """

    title: str
    uri: str
    key: str


class Pictures:
    """Makes the pictures of a report. Pictures that an earlier report holds are not made again.

    A picture is reused only if it would be made from the same values in the same way.

    Args:
        page: HTML of an earlier report; empty if there is none.
    """

    def __init__(self, page: str = "") -> None:
        self._uris = {key: uri for uri, key in IN_PAGE.findall(page)}

    def encoded(self, title: str, image: np.ndarray) -> Picture:
        """Return a picture that shows `image`, (H, W, 3) uint8 RGB or (H, W) uint8 grey."""
        return self.drawn(title, [list(image.shape), image.tobytes()], lambda: image)

    def drawn(self, title: str, source: Any, draw: Callable[[], np.ndarray], lossless: bool = False) -> Picture:
        """Return a picture that a function draws. If a picture with the same source exists, do not draw it again.

        Args:
            title: title of the picture.
            source: everything that the drawing depends on; `digest` says which values it may have.
            draw: function that returns the drawing, in the form that `data_uri` takes.
            lossless: see `data_uri`.
        """
        key = digest([source, lossless, QUALITY, EFFORT])
        if key not in self._uris:
            self._uris[key] = data_uri(draw(), lossless)
        return Picture(title, self._uris[key], key)


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
