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

LONGER_SIDE = 512  # px; larger than the page shows pictures, so that the viewer can enlarge them
SMALL_SIDE = 320  # px; of the pictures in the Prefect UI, which loads all of them each time it lists artifacts
QUALITY = 72
EFFORT = 2  # of the encoder: half of the time of the default 4, for 5 % more bytes
MISSING = (128, 128, 128)
IN_PAGE = re.compile(r'<img src="(data:image/(?:webp|png);base64,[A-Za-z0-9+/=]+)" data-key="([0-9a-f]+)"')


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        title: title of the picture.
        uri: data URI that holds the picture.
        key: digest of everything that the picture is made from.
        size_hw: height and width [px] at which the page shows the picture before it is enlarged or reduced.
        role: part that the picture plays in the viewer: photo, mask, truth, confidence or cam; empty for a plot.
        class_ids: for a map of class ids, the class id of each entry of the picture's palette.
    """

    title: str
    uri: str
    key: str
    size_hw: tuple[int, int]
    role: str = ""
    class_ids: tuple[int, ...] = ()


class Pictures:
    """Makes the pictures of a report. Pictures that an earlier report holds are not made again.

    A picture is reused only if it would be made from the same values in the same way.

    Args:
        page: HTML of an earlier report; empty if there is none.
    """

    def __init__(self, page: str = "") -> None:
        self._uris = {key: uri for uri, key in IN_PAGE.findall(page)}

    def encoded(self, title: str, image: np.ndarray, role: str = "") -> Picture:
        """Return a picture that shows `image`, (H, W, 3) uint8 RGB or (H, W) uint8 grey."""
        uri, key = self._made([list(image.shape), image.tobytes(), False, QUALITY, EFFORT], lambda: data_uri(image))
        return Picture(title, uri, key, _size(image), role)

    def drawn(self, title: str, source: Any, draw: Callable[[], np.ndarray]) -> Picture:
        """Return a plot that a function draws. If a plot with the same source exists, do not draw it again.

        Args:
            title: title of the plot.
            source: everything that the drawing depends on; `digest` says which values it may have.
            draw: function that returns the drawing, in the form that `data_uri` takes. No pixel of it changes, because
                lossy compression blurs the thin lines of plots.
        """
        uri, key = self._made([source, True, QUALITY, EFFORT], lambda: data_uri(draw(), lossless=True))
        return Picture(title, uri, key, _size_in(uri))

    def indexed(self, title: str, indices: np.ndarray, palette: np.ndarray, role: str) -> Picture:
        """Return a picture in a few colours, which are encoded without a loss.

        Args:
            title: title of the picture.
            indices: (H, W) uint8 places in the palette.
            palette: (N, 4) uint8 RGB and opacity, with N <= 256.
            role: role of the picture.
        """
        source = [list(indices.shape), indices.tobytes(), palette.tobytes()]
        uri, key = self._made(source, lambda: palette_uri(indices, palette))
        return Picture(title, uri, key, _size(indices), role)

    def _made(self, source: Any, encode: Callable[[], str]) -> tuple[str, str]:
        key = digest(source)
        if key not in self._uris:
            self._uris[key] = encode()
        return self._uris[key], key


def small_photo(image: Image.Image, longer_side: int = LONGER_SIDE) -> np.ndarray:
    """Reduce a photo to the size at which a page stores it.

    Returns:
        (H, W, 3) uint8 RGB. The longer side has at most `longer_side` pixels.
    """
    return np.asarray(limit_side(image, longer_side))


def grey_canvas(size_hw: tuple[int, int], longer_side: int = LONGER_SIDE) -> np.ndarray:
    """Return a grey picture that replaces an unreadable photo.

    Args:
        size_hw: height and width of the photo before the reduction [px].
        longer_side: greatest length of the longer side [px].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return small_photo(Image.new("RGB", size_hw[::-1], MISSING), longer_side)


def small_ids(ids: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a map of class ids, (H, W) uint8, to `size_hw` [px], with nearest-neighbour interpolation."""
    return np.asarray(Image.fromarray(ids).resize(size_hw[::-1], Image.Resampling.NEAREST))


def small_levels(levels: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize a map of confidence levels, (H, W) uint8, to `size_hw` [px]. Averaging keeps thin lines visible."""
    return np.asarray(Image.fromarray(levels).resize(size_hw[::-1], Image.Resampling.BOX))


def data_uri(image: np.ndarray, lossless: bool = False) -> str:
    """Encode a picture as a data URI that holds a WebP file.

    Args:
        image: (H, W, 3) uint8 RGB or (H, W) uint8 grey.
        lossless: if true, no pixel changes. Plots need this, because lossy compression blurs their thin lines.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(buffer, "WEBP", quality=QUALITY, lossless=lossless, method=EFFORT)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def palette_uri(indices: np.ndarray, palette: np.ndarray) -> str:
    """Encode a picture of few colours as a data URI that holds a PNG file with a palette.

    The viewer reads the places in the palette from this file; see `decodePng` in viewer/png.js.

    Args:
        indices: (H, W) uint8 places in the palette.
        palette: (N, 4) uint8 RGB and opacity, with N <= 256.
    """
    image, buffer = Image.fromarray(indices), io.BytesIO()
    image.putpalette(palette[:, :3].tobytes())
    image.save(buffer, "PNG", transparency=palette[:, 3].tobytes(), optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _size(pixels: np.ndarray) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def _size_in(uri: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return image.height, image.width
