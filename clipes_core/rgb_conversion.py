"""Convert photos to 8-bit RGB, and apply or ignore their EXIF orientation."""

import struct
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from clipes_core.errors import ErrorKind, PhotoError

# The boxes of a photo that is 1 px wide or high are degenerate. Such images on web pages are usually spacers or
# tracking pixels, not photos.
MIN_SIDE = 2

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

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image, exif: Literal["ignore", "apply"]) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a photo to 8-bit RGB, and report what was changed or ignored.

    Args:
        image: photo as PIL opened it, at its first frame. The function decodes the photo if necessary.
        exif: `apply` rotates or mirrors the photo as its EXIF orientation says; `ignore` does not. For TIFF, the
            argument has no effect, because PIL itself always applies the orientation.

    Returns:
        A new image of mode RGB without metadata, and notes: one for each conversion, one if an EXIF orientation was
        applied or ignored, and one if the photo has several frames. Only the first frame is used.

    Raises:
        PhotoError: TOO_SMALL if a side is shorter than MIN_SIDE; UNDECODABLE if the pixels cannot be converted to
            RGB, for example because they are floating-point numbers or integers of more than 16 bits.
        OSError: PIL cannot decode the file, because it is truncated or broken.
    """
    if min(image.size) < MIN_SIDE:
        width, height = image.size
        reason = f"photo is {width} x {height} px (width x height), but each side needs at least {MIN_SIDE} px"
        raise PhotoError(ErrorKind.TOO_SMALL, reason)
    rgb, notes = _converted(image)
    # Read the orientation after decoding: while PIL decodes a TIFF, it rotates the pixels and removes the EXIF tag.
    rgb, turned = _turned(rgb, image.getexif().get(ExifTags.Base.Orientation), exif)
    rgb.info = {}  # PIL has copied the metadata, such as the EXIF tags, but they describe the original photo
    return rgb, (*notes, *turned, *_frames(image))


def _converted(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    if image.mode in _SIXTEEN_BITS:
        return _scaled_to_8_bits(image).convert("RGB"), ("converted from 16-bit greyscale",)
    if image.mode not in _CONVERTED and image.mode not in _DIRECT:
        reason = f"PIL mode {image.mode} has no defined conversion to RGB: save the photo with 8 or 16 bits per channel"
        raise PhotoError(ErrorKind.UNDECODABLE, reason)
    notes = (_CONVERTED[image.mode],) if image.mode in _CONVERTED else ()
    if image.has_transparency_data:
        return _on_white(image), (*notes, "alpha composited on white")
    return image.convert("RGB"), notes


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """Reduce 16-bit greyscale to its upper byte. PIL itself does this for colour, but clips greyscale at 255."""
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        reason = (
            f"greyscale values {grey.min()}..{grey.max()} exceed 16 bits: save the photo with 8 or 16 bits per channel"
        )
        raise PhotoError(ErrorKind.UNDECODABLE, reason)
    return Image.fromarray((grey >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _turned(rgb: Image.Image, orientation: object, exif: str) -> tuple[Image.Image, tuple[str, ...]]:
    if not isinstance(orientation, int) or orientation not in _UPRIGHT:
        return rgb, ()
    if exif == "ignore":
        return rgb, (f"EXIF orientation {orientation} ignored",)
    return rgb.transpose(_UPRIGHT[orientation]), (f"EXIF orientation {orientation} applied",)


def _frames(image: Image.Image) -> tuple[str, ...]:
    try:
        several = getattr(image, "is_animated", False)
    except (IndexError, struct.error):  # there is a second frame, but it is truncated
        several = True
    return ("first of several frames",) if several else ()
