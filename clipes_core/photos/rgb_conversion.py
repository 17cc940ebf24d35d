"""Convert photos to 8-bit RGB, turned as their EXIF orientation says and reduced to a largest side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from PIL import Image

from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.photos.exif_orientation import SWAPS_SIDES, upright_turn
from clipes_core.preprocessing import limited_size

# The boxes of a photo that is 1 px wide or high are degenerate. Such images on web pages are usually spacers or
# tracking pixels, not photos.
MIN_SIDE = 2
WHOLE_PIXELS = 1 << 22  # a photo with more pixels is converted in strips, one colour after another, to save memory
STRIP_PIXELS = 1 << 20
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # PIL mode -> size; otherwise 4
CONVERTED_BYTES = 16  # largest size of the copies of a pixel during a conversion

_CONVERTED = {
    "1": "converted from black and white",
    "L": "converted from greyscale",
    "LA": "converted from greyscale",
    "P": "converted from a palette",
    "PA": "converted from a palette",
    "CMYK": "converted from CMYK",
    "YCbCr": "converted from YCbCr",
    "LAB": "converted from LAB",
}
_DIRECT = ("RGB", "RGBA")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")

Convert = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class RgbPhoto:
    """A photo that was converted to RGB.

    Attributes:
        image: photo of mode RGB without metadata, reduced if it was larger than permitted.
        size_hw: height and width of the photo before it was reduced [px].
        notes: one note for each conversion, one if an EXIF orientation was applied or ignored or cannot be read, and
            one if the photo has several frames. Only the first frame is used.
    """

    image: Image.Image
    size_hw: tuple[int, int]
    notes: tuple[str, ...]


def to_rgb(
    image: Image.Image, exif: Literal["ignore", "apply"], max_side: int | None = None, draft: bool = False
) -> RgbPhoto:
    """Convert a photo to 8-bit RGB, reduce it to `max_side`, and report what was changed or ignored.

    Args:
        image: photo as PIL opened it, at its first frame. The function decodes the photo if necessary.
        exif: `apply` rotates or mirrors the photo as its EXIF orientation says; `ignore` does not. For TIFF, the
            argument has no effect, because PIL itself always applies the orientation.
        max_side: largest permitted side of the result [px]; None for no limit. See `limit_side`.
        draft: if true, PIL decodes a JPEG that is larger than `max_side` at a half, a quarter or an eighth of its size,
            if this is still as large as the result. The pixels of the result then differ slightly.

    Returns:
        The photo in RGB. Its image shares no memory with `image`.

    Raises:
        PhotoError: TOO_SMALL if a side is shorter than MIN_SIDE; UNDECODABLE if the pixels cannot be converted to
            RGB, for example because they are floating-point numbers or integers of more than 16 bits.
        Exception: PIL cannot decode the file, because it is truncated or broken.
    """
    if min(image.size) < MIN_SIDE:
        width, height = image.size
        reason = f"photo is {width} x {height} px (width x height), but each side needs at least {MIN_SIDE} px"
        raise PhotoError(ErrorKind.TOO_SMALL, reason)
    original = image.size
    drafted = draft and reduce_while_decoding(image, max_side)
    turn, turned = upright_turn(image, exif)
    upright = image if turn is None else image.transpose(turn)
    size = upright.size
    if drafted:
        size = original[::-1] if turn in SWAPS_SIDES else original
    convert, converted = _conversion(upright)
    rgb = _reduced(upright, convert, limited_size(size, max_side))
    rgb.info = {}  # PIL has copied the metadata, such as the EXIF tags, but they describe the original photo
    return RgbPhoto(rgb, size[::-1], (*converted, *turned, *_frames(image)))


def reduce_while_decoding(image: Image.Image, max_side: int | None) -> bool:
    """Let PIL decode a large JPEG at a part of its size, as `draft` says in `to_rgb`; return whether PIL will do so."""
    original = image.size
    image.draft(None, limited_size(original, max_side))
    return image.size != original


def conversion_bytes(image: Image.Image, exif: Literal["ignore", "apply"], max_side: int | None) -> int:
    """Estimate how much memory `to_rgb` needs for a photo, with the decoded photo but without PIL's decoder [bytes].

    Args:
        image: photo as PIL opened it. The function does not decode the photo.
        exif: as for `to_rgb`.
        max_side: as for `to_rgb`.
    """
    pixels, kept = image.width * image.height, limited_size(image.size, max_side)
    decoded = pixels * PIXEL_BYTES.get(image.mode, 4) * (2 if exif == "apply" else 1)
    resized = 4 * pixels * max(kept) // max(image.size)
    if image.mode == "RGB" and not image.has_transparency_data:
        return decoded + resized
    whole = pixels <= WHOLE_PIXELS or kept == image.size
    return decoded + resized + (CONVERTED_BYTES * pixels if whole else pixels + CONVERTED_BYTES * STRIP_PIXELS)


def _conversion(image: Image.Image) -> tuple[Convert, tuple[str, ...]]:
    """Return a function that converts each pixel of a photo to RGB by itself, and the notes about the conversion."""
    if image.mode in _SIXTEEN_BITS:
        _check_16_bits(image)
        return _upper_byte, ("converted from 16-bit greyscale",)
    if image.mode not in _CONVERTED and image.mode not in _DIRECT:
        reason = f"PIL mode {image.mode} has no defined conversion to RGB: save the photo with 8 or 16 bits per channel"
        raise PhotoError(ErrorKind.UNDECODABLE, reason)
    if image.mode in ("P", "PA") and image.palette is None:
        reason = "its pixels are numbers of palette colours, but it has no palette: save the photo again as RGB"
        raise PhotoError(ErrorKind.UNDECODABLE, reason)
    notes = (_CONVERTED[image.mode],) if image.mode in _CONVERTED else ()
    if image.has_transparency_data:
        return _on_white, (*notes, "alpha composited on white")
    return (_unchanged if image.mode == "RGB" else _plain), notes


def _unchanged(part: Image.Image) -> Image.Image:
    return part


def _plain(part: Image.Image) -> Image.Image:
    return part.convert("RGB")


def _check_16_bits(image: Image.Image) -> None:
    """Check that the grey levels of a photo have 16 bits, and are not all black without their lower 8 bits.

    Raises:
        PhotoError: UNDECODABLE.
    """
    lowest, highest = _extrema(image)
    if lowest < 0 or highest > 65535:
        reason = f"greyscale values {lowest}..{highest} exceed 16 bits: save the photo with 8 or 16 bits per channel"
        raise PhotoError(ErrorKind.UNDECODABLE, reason)
    if 0 < highest < 256:
        reason = f"greyscale values {lowest}..{highest} are black among 16 bits: save the photo with 8 bits per channel"
        raise PhotoError(ErrorKind.UNDECODABLE, reason)


def _extrema(image: Image.Image) -> tuple[int, int]:
    if image.mode == "I;16B":  # PIL has no extrema for this mode
        levels = np.asarray(image)
        return int(levels.min()), int(levels.max())
    return cast("tuple[int, int]", image.getextrema())


def _upper_byte(part: Image.Image) -> Image.Image:
    """Reduce 16-bit greyscale to its upper byte. PIL itself does this for colour, but clips greyscale at 255."""
    return Image.fromarray((np.asarray(part) >> 8).astype(np.uint8)).convert("RGB")


def _on_white(part: Image.Image) -> Image.Image:
    white = Image.new("RGBA", part.size, "white")
    return Image.alpha_composite(white, part.convert("RGBA")).convert("RGB")


def _reduced(image: Image.Image, convert: Convert, size: tuple[int, int]) -> Image.Image:
    """Convert a photo to a new image, and reduce it to a size as `limit_side` does.

    A large photo is reduced one colour after another, because a converted copy of the whole photo would need up to
    four times the memory of one colour. The pixels are the same.
    """
    small = image.width * image.height <= WHOLE_PIXELS
    if convert is _unchanged or small or size == image.size:
        rgb = _resized(convert(image), size)
        return rgb.copy() if rgb is image else rgb
    return Image.merge("RGB", [_resized(_colour(image, convert, colour), size) for colour in "RGB"])


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _colour(image: Image.Image, convert: Convert, colour: str) -> Image.Image:
    """Convert a photo in strips, and return one colour of the result."""
    levels = Image.new("L", image.size)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        levels.paste(convert(strip).getchannel(colour), (0, top))
    return levels


def _frames(image: Image.Image) -> tuple[str, ...]:
    try:
        several = getattr(image, "is_animated", False)
    except Exception:  # there is a second frame, but it is damaged; PIL raises errors of many types
        several = True
    return ("first of several frames",) if several else ()
