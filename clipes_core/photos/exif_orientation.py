"""Read how photos must be turned to be upright. A photo with damaged EXIF data is used as it is."""

import struct
from typing import Literal

from PIL import ExifTags, Image, TiffTags

NOTE = "EXIF orientation"  # the beginning of the note on a photo that states an orientation
EXIF_HEADER = b"Exif\0\0"
BYTE_ORDERS = {b"II": "<", b"MM": ">"}
INTEGER_TYPES = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # EXIF type -> format of the module `struct`

SWAPS_SIDES = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_turn(
    image: Image.Image, exif: Literal["ignore", "apply"]
) -> tuple[Image.Transpose | None, tuple[str, ...]]:
    """Decode a photo, and return how it must be turned if `exif` is `apply`.

    Args:
        image: photo as PIL opened it.
        exif: `apply` rotates or mirrors the photo; `ignore` does not. For TIFF, the argument has no effect, because
            PIL itself always applies the orientation.

    Returns:
        The argument of `Image.transpose` that turns the photo, or None if it must not be turned; and one note if an
        orientation is applied or ignored, or cannot be read.

    Raises:
        Exception: PIL cannot decode the photo.
    """
    _decode(image)
    try:
        orientation = _orientation(image)
    except Exception:  # PIL raises errors of many types for damaged EXIF data, and the pixels are already decoded
        unread = "the EXIF data are damaged"
        return None, (f"{unread}: the photo was not turned" if exif == "apply" else unread,)
    if orientation not in _UPRIGHT:
        return None, ()
    if exif == "ignore":
        return None, (f"{NOTE} {orientation} ignored",)
    return _UPRIGHT[orientation], (f"{NOTE} {orientation} applied",)


def _decode(image: Image.Image) -> None:
    """Decode the pixels. PIL also turns the pixels of a TIFF, and removes the orientation from the tags.

    After PIL has decoded a TIFF, PIL reads the nested directories of the EXIF data and the XMP data, and fails if they
    are damaged. This function first removes these directories, because clipes does not need them, and XMP data that are
    not bytes.
    """
    if image.format == "TIFF":
        if not isinstance(image.info.get("xmp"), bytes):
            image.info.pop("xmp", None)
        tags = image.getexif()
        for directory in TiffTags.TAGS_V2_GROUPS:
            tags.pop(directory, None)
    image.load()


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; None if the photo states none.

    Raises:
        Exception: the EXIF data are damaged.
    """
    data = image.info.get("exif", b"")
    stated = _stated_orientation(data.removeprefix(EXIF_HEADER).removeprefix(EXIF_HEADER))
    if stated is None:  # PIL also knows the other places, such as XMP
        stated = image.getexif().get(ExifTags.Base.Orientation)
    return stated if isinstance(stated, int) else None


def _stated_orientation(data: bytes) -> int | None:
    """Return the orientation in a block of EXIF data; None if the block states none.

    PIL is not used here: it skips the orientation without an error if a tag before the orientation is damaged.

    Raises:
        ValueError: the block does not start like EXIF data.
        struct.error: the first directory of the block is cut off.
    """
    if not data:
        return None
    order = BYTE_ORDERS.get(data[:2])
    if order is None or sorted(data[2:4]) != [0, 42]:
        raise ValueError("no EXIF header")
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count, _ = struct.unpack_from(f"{order}HHII", data, entry)
        if tag == ExifTags.Base.Orientation:
            known = kind in INTEGER_TYPES and 0 < count * struct.calcsize(INTEGER_TYPES[kind]) <= 4
            return struct.unpack_from(order + INTEGER_TYPES[kind], data, entry + 8)[0] if known else None
    return None
