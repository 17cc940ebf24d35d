import io
import struct
import warnings

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from clipes_core.photos.exif_orientation import upright_turn

ORIENTATION = ExifTags.Base.Orientation
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
DAMAGED = {
    "ignore": "the EXIF data are damaged",
    "apply": "the EXIF data are damaged: the photo was not turned",
}


@pytest.fixture(autouse=True)
def without_warnings():
    """Hide the warnings of PIL about damaged EXIF data, as `open_image` does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def turn_upright(photo: Image.Image, exif: str) -> tuple[Image.Image, tuple[str, ...]]:
    turn, notes = upright_turn(photo, exif)
    return (photo if turn is None else photo.transpose(turn)), notes


def exif_block(order: str = "<", kind: int = 3, count: int = 1, value: bytes = b"", orientation: int = 6) -> bytes:
    """Return EXIF data with the tags Make, whose text lies behind the directory, and Orientation."""
    value = value or struct.pack(f"{order}H", orientation)
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    make = struct.pack(f"{order}HHII", ExifTags.Base.Make, 2, 12, 8 + 2 + 24 + 4)
    turned = struct.pack(f"{order}HHI", ORIENTATION, kind, count) + value.ljust(4, b"\0")
    return header + struct.pack(f"{order}H", 2) + make + turned + bytes(4) + b"clipes maker"


def encoded(file_format: str, exif: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, file_format, exif=b"Exif\0\0" + exif)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", ["ignore", "apply"])
@pytest.mark.parametrize("block", [b"garbage!", b"II*\0", b"MM", b"II*\0\xff\xff\xff\xff", b"II*\0\0\0\0\0"])
def test_a_photo_with_a_damaged_exif_block_is_used_and_noted(file_format, exif, block):
    data = encoded(file_format, block)
    image, notes = turn_upright(opened(data), exif)
    assert np.array_equal(np.asarray(image), np.asarray(opened(data)))
    assert notes == (DAMAGED[exif],)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", "<>")
def test_a_photo_is_turned_or_a_note_tells_why_not_wherever_its_exif_block_is_cut(file_format, order):
    block = exif_block(order)
    turned = [turn_upright(opened(encoded(file_format, block[:end])), "apply") for end in range(1, len(block) + 1)]
    whole = 8 + 2 + 24  # from here, the entry of the orientation is complete
    assert {notes for _, notes in turned[: whole - 1]} == {(DAMAGED["apply"],)}
    assert {notes for _, notes in turned[whole - 1 :]} == {("EXIF orientation 6 applied",)}
    assert [image.size for image, _ in turned] == [(24, 16)] * (whole - 1) + [(16, 24)] * (len(block) - whole + 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (1, 1, b"\6"),
        (6, 1, b"\6"),
        (3, 1, None),
        (3, 2, None),
        (4, 1, None),
        (2, 2, b"6\0"),
        (3, 3, None),
        (5, 1, None),
        (77, 1, None),
    ],
)
def test_the_orientation_is_the_one_that_pil_reads(order, kind, count, value):
    code = "I" if kind == 4 else "H"
    block = exif_block(order, kind, count, value or struct.pack(f"{order}{code}", 6))
    tags = Image.Exif()
    tags.load(block)
    stated = tags.get(ORIENTATION)

    _, notes = turn_upright(opened(encoded("PNG", block)), "ignore")

    assert notes == (("EXIF orientation 6 ignored",) if stated == 6 else ())
    assert (stated == 6) == (kind in (4, 6) or (kind == 3 and count < 3))


def test_the_orientation_may_be_in_xmp_or_in_a_text_of_a_png():
    xmp, raw = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    raw.add_text("Raw profile type exif", f"\nexif\n9\n{(b'Exif' + bytes(2) + exif_block()).hex()}")
    for info in (xmp, raw):
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, "PNG", pnginfo=info)
        assert turn_upright(opened(buffer.getvalue()), "ignore")[1] == ("EXIF orientation 6 ignored",)


@pytest.mark.parametrize("pointer", [struct.pack("<HII", 9, 1, 0xFFFFFFF0), struct.pack("<HII", 4, 1, 1 << 30)])
def test_a_tiff_with_a_damaged_exif_directory_is_used(pointer):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", tiffinfo={ExifTags.IFD.Exif: {ExifTags.Base.ExposureTime: 3.0}})
    data = buffer.getvalue()
    at = data.index(struct.pack("<H", ExifTags.IFD.Exif)) + 2

    image, notes = turn_upright(opened(data[:at] + pointer + data[at + len(pointer) :]), "apply")

    assert np.array_equal(np.asarray(image), PIXELS)
    assert notes == ()


@pytest.mark.parametrize(("kind", "value"), [(2, "text"), (5, 1.5), (12, 1.5)])
def test_a_tiff_with_xmp_data_that_are_not_bytes_is_used(kind, value):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[ExifTags.Base.XMLPacket] = kind
    tags[ExifTags.Base.XMLPacket] = value
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", tiffinfo=tags)

    image, notes = turn_upright(opened(buffer.getvalue()), "apply")

    assert np.array_equal(np.asarray(image), PIXELS)
    assert notes == ()


def test_a_photo_without_exif_data_is_not_changed():
    photo = opened(encoded("PNG", b""))
    assert turn_upright(photo, "apply") == (photo, ())
