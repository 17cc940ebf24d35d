import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin
from support.decoding_fuzz import PNG_HEADER, encoded, png, png_chunks

from clipes.tasks.inputs.decoding import open_image
from clipes.tasks.inputs.metadata import without_metadata
from clipes_core.photos.rgb_conversion import to_rgb

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
HUGE = zlib.compress(bytes(3_000_000))
ORIENTATION = '<x tiff:Orientation="6"/>'
DAMAGED = ("the EXIF data are damaged: the photo was not turned",)


def decoded(data):
    with open_image("a", data) as image:
        return to_rgb(image, "apply")


def png_with(*added, photo=None):
    """Return a PNG with chunks before its pixels, and the same chunks after its pixels."""
    first, *others, last = png_chunks(photo or encoded(NOISE, "PNG"))
    return png([first, *added, *others, *added, last])


def jpeg_with(marker, content):
    photo = encoded(NOISE, "JPEG")
    return photo[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + photo[2:]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"zTXt", b"workflow\0\0" + HUGE),
        (b"iTXt", b"workflow\0\1\0\0\0" + HUGE),
        (b"tEXt", b"workflow\0" + bytes(65 << 20)),
        (b"tEXt", b"transparency\0" + b"a"),
        (b"iCCP", b"profile\0\0" + HUGE),
        (b"iCCP", b""),
        (b"zTXt", b"comment\0\7"),
        (b"gAMA", b"\0"),
        (b"cHRM", b"\0"),
        (b"pHYs", b"\0"),
        (b"sRGB", b""),
        (b"acTL", b"\0"),
        (b"acTL", struct.pack(">II", 0, 0)),
        (b"acTL", struct.pack(">II", 0xFFFFFFFF, 0)),
        (b"fcTL", b"\0"),
        (b"fcTL", bytes(26)),
        (b"fdAT", b"\0"),
        (b"fdAT", bytes(99)),
        (b"prVt", b"a private chunk"),
    ],
)
def test_no_metadata_cost_a_png(name, content):
    photo = decoded(png_with((name, content)))
    assert np.array_equal(photo.image, NOISE)
    assert photo.notes == ()


@pytest.mark.parametrize("name", [b"tEXt", b"tIME", b"gAMA", b"cICP", b"acTL", b"fcTL", b"fdAT", b"prVt"])
def test_metadata_with_a_wrong_checksum_do_not_cost_a_png(name):
    data = png_with((name, b"metadata"))
    start = data.index(name)
    assert np.array_equal(decoded(data[: start + 4] + b"x" + data[start + 5 :]).image, NOISE)


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE0, b"JFIF\0"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xED, b"Photoshop 3.0\x008BIM\0\0"),
        (0xEE, b"Adobe"),
    ],
)
def test_no_metadata_cost_a_jpeg(marker, content):
    assert np.array_equal(decoded(jpeg_with(marker, content)).image, decoded(encoded(NOISE, "JPEG")).image)


def test_every_statement_of_the_orientation_is_read():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    xmp = PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", ORIENTATION, zip=True)
    profile = b"Raw profile type exif\0\0" + zlib.compress(b"\n\n\n" + exif.tobytes().hex().encode())
    photos = [
        encoded(NOISE, "PNG", exif=exif),
        encoded(NOISE, "PNG", pnginfo=xmp),
        png_with((b"zTXt", profile)),
        encoded(NOISE, "JPEG", exif=exif),
        encoded(NOISE, "JPEG", xmp=ORIENTATION.encode()),
    ]
    assert [decoded(photo).notes for photo in photos] == [("EXIF orientation 6 applied",)] * len(photos)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + HUGE),
        (b"zTXt", b"Raw profile type exif\0\0" + HUGE),
        (b"zTXt", b"Raw profile type exif\0\7"),
    ],
)
def test_an_orientation_that_cannot_be_read_is_noted(name, content):
    photo = decoded(png_with((name, content)))
    assert np.array_equal(photo.image, NOISE)
    assert photo.notes == DAMAGED


def test_exif_data_with_a_wrong_checksum_are_noted():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(NOISE, "PNG", exif=exif)
    start = data.index(b"eXIf")
    assert decoded(data[: start + 8] + b"\xff" + data[start + 9 :]).notes == DAMAGED


def test_what_decides_the_pixels_stays():
    palette = NOISE.quantize(16)
    transparent = encoded(palette, "PNG", transparency=bytes([0, 99, 255]))
    cmyk, several = encoded(NOISE.convert("CMYK"), "JPEG"), encoded(NOISE, "MPO", save_all=True, append_images=[NOISE])
    for photo in (transparent, cmyk, several):
        assert without_metadata(photo) == photo


@pytest.mark.parametrize("default_image", [False, True])
def test_the_first_frame_of_an_animated_png_is_read(default_image):
    turned = NOISE.transpose(Image.Transpose.ROTATE_180)
    data = encoded(NOISE, "PNG", save_all=True, append_images=[turned, turned], default_image=default_image)
    photo = decoded(data)
    assert np.array_equal(photo.image, NOISE)
    assert photo.notes == ("first of several frames",)


FRAME = struct.pack(">IIIIIHHBB", 0, 30, 20, 0, 0, 1, 10, 0, 0)
FRAMES = struct.pack(">II", 2, 0)


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"acTL", FRAMES), (b"acTL", FRAMES)],
        [(b"acTL", FRAMES), (b"fcTL", FRAME[:9])],
        [(b"acTL", FRAMES), (b"fcTL", b"\7" * 4 + FRAME[4:])],
        [(b"acTL", FRAMES), (b"fcTL", FRAME.replace(b"\0\0\0\x1e", b"\0\0\0\x1f"))],
        [(b"acTL", FRAMES), (b"fcTL", FRAME.replace(b"\0\0\0\x1e", b"\0\0\0\x02"))],
        [(b"acTL", FRAMES), (b"fcTL", FRAME), (b"fcTL", FRAME)],
        [(b"acTL", FRAMES), (b"fcTL", FRAME), (b"fdAT", b"\0\0\0\7")],
    ],
)
def test_a_damaged_animation_does_not_cost_the_first_frame(chunks):
    photo = decoded(png_with(*chunks))
    assert np.array_equal(photo.image, NOISE)
    assert photo.notes == ("first of several frames",)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", PNG_HEADER, PNG_HEADER + b"\0\0\1\0tEXtcut", b"GIF89a"]
)
def test_a_file_that_is_cut_off_is_not_changed(data):
    assert without_metadata(data) == data


def test_the_result_is_what_pil_reads_from_the_file():
    for data in (png_with((b"tEXt", b"a\0b")), jpeg_with(0xFE, b"a comment")):
        shorter = without_metadata(data)
        assert len(shorter) < len(data)
        assert np.array_equal(Image.open(io.BytesIO(shorter)), Image.open(io.BytesIO(data)))
