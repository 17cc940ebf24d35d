import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from clipes_core.config.pseudo_masks import CrfConfig
from clipes_core.dense_crf import dense_crf
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.photos.rgb_conversion import MIN_SIDE
from clipes_core.photos.rgb_conversion import to_rgb as converted
from clipes_core.preprocessing import patch_grid

ORIENTATION = 0x0112


def to_rgb(photo: Image.Image, exif: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the image and the notes of a photo that was converted and not reduced."""
    found = converted(photo, exif)
    assert found.size_hw == (found.image.height, found.image.width)
    return found.image, found.notes


def reopened(image: Image.Image, file_format: str, **options: object) -> Image.Image:
    """Return the image after saving it to a file and opening that file."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def grey(values: list[list[int]], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(values, dtype))


def with_orientation(orientation: int) -> Image.Image:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    pixels = Image.fromarray(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3))
    return reopened(pixels, "PNG", exif=exif)


def test_an_rgb_photo_is_copied_without_a_note():
    photo = Image.fromarray(np.arange(27, dtype=np.uint8).reshape(3, 3, 3))

    rgb, notes = to_rgb(photo, "ignore")

    assert rgb is not photo
    assert rgb.mode == "RGB"
    assert notes == ()
    assert np.array_equal(np.asarray(rgb), np.asarray(photo))


def test_grey_becomes_three_equal_channels():
    rgb, notes = to_rgb(reopened(grey([[0, 7], [128, 255]]), "PNG"), "ignore")

    assert np.asarray(rgb).tolist() == [[[0] * 3, [7] * 3], [[128] * 3, [255] * 3]]
    assert notes == ("converted from greyscale",)


def test_black_and_white_becomes_0_and_255():
    rgb, notes = to_rgb(reopened(grey([[0, 255], [255, 0]]).convert("1"), "PNG"), "ignore")

    assert np.asarray(rgb)[..., 1].tolist() == [[0, 255], [255, 0]]
    assert notes == ("converted from black and white",)


def palette_photo() -> Image.Image:
    photo = grey([[0, 1], [2, 0]]).convert("P")
    photo.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 200])
    return photo


def test_palette_entries_become_their_colours():
    rgb, notes = to_rgb(reopened(palette_photo(), "PNG"), "ignore")

    assert np.asarray(rgb).tolist() == [[[10, 20, 30], [200, 0, 0]], [[0, 0, 200], [10, 20, 30]]]
    assert notes == ("converted from a palette",)


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(file_format):
    photo = reopened(palette_photo(), file_format, transparency=0)

    rgb, notes = to_rgb(photo, "ignore")

    assert np.asarray(rgb).tolist() == [[[255] * 3, [200, 0, 0]], [[0, 0, 200], [255] * 3]]
    assert notes == ("converted from a palette", "alpha composited on white")


def test_a_palette_of_half_transparent_entries_is_composited():
    photo = reopened(palette_photo(), "PNG", transparency=bytes([0, 128, 255]))

    rgb, _ = to_rgb(photo, "ignore")

    # 200 * 128/255 + 255 * 127/255 = 227.4; 0 * 128/255 + 255 * 127/255 = 127
    assert np.asarray(rgb).tolist() == [[[255] * 3, [227, 127, 127]], [[0, 0, 200], [255] * 3]]


def test_alpha_is_composited_on_white():
    pixels = np.array([[[0, 0, 0, 255], [0, 0, 0, 0]], [[0, 0, 0, 128], [100, 50, 0, 51]]], np.uint8)

    rgb, notes = to_rgb(reopened(Image.fromarray(pixels), "PNG"), "ignore")

    # 0 * 128/255 + 255 * 127/255 = 127; 100 * 0.2 + 255 * 0.8 = 224, 50 * 0.2 + 204 = 214, 204
    assert np.asarray(rgb).tolist() == [[[0] * 3, [255] * 3], [[127] * 3, [224, 214, 204]]]
    assert notes == ("alpha composited on white",)


def test_greyscale_with_alpha_is_composited_on_white():
    pixels = np.array([[[40, 255], [40, 0]], [[0, 128], [255, 255]]], np.uint8)

    rgb, notes = to_rgb(reopened(Image.fromarray(pixels, "LA"), "PNG"), "ignore")

    assert np.asarray(rgb)[..., 0].tolist() == [[40, 255], [127, 255]]
    assert notes == ("converted from greyscale", "alpha composited on white")


def test_an_rgb_png_with_a_transparent_colour_is_composited_on_white():
    pixels = np.array([[[9, 8, 7], [1, 2, 3]], [[1, 2, 3], [9, 8, 7]]], np.uint8)

    rgb, _ = to_rgb(reopened(Image.fromarray(pixels), "PNG", transparency=(9, 8, 7)), "ignore")

    assert np.asarray(rgb).tolist() == [[[255] * 3, [1, 2, 3]], [[1, 2, 3], [255] * 3]]


@pytest.mark.parametrize("colour", ["red", "white", "black", "blue"])
@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_keeps_its_colours(colour, file_format):
    # Like Adobe's programs, PIL inverts CMYK in JPEGs and adds Adobe's marker; it does not invert CMYK in TIFFs.
    photo = reopened(Image.new("RGB", (8, 8), colour).convert("CMYK"), file_format)
    assert photo.mode == "CMYK"

    rgb, notes = to_rgb(photo, "ignore")

    assert np.abs(np.asarray(rgb).astype(int) - Image.new("RGB", (8, 8), colour)).max() <= 4
    assert notes == ("converted from CMYK",)


@pytest.mark.parametrize(
    ("mode", "grey_pixel"), [("YCbCr", (100, 128, 128)), ("LAB", (107, 128, 128))], ids=["YCbCr", "LAB"]
)
def test_other_colour_spaces_are_converted(mode, grey_pixel):
    rgb, notes = to_rgb(Image.new(mode, (2, 2), grey_pixel), "ignore")
    # LAB's lightness 107 / 255 = 42 % is sRGB 99.6 of 255
    assert np.abs(np.asarray(rgb).astype(int) - 100).max() <= 1
    assert notes == (f"converted from {mode}",)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_greyscale_is_scaled_and_not_clipped(file_format):
    photo = reopened(grey([[0, 255], [32896, 65535]], np.uint16), file_format)
    assert photo.mode == "I;16"

    rgb, notes = to_rgb(photo, "ignore")

    assert np.asarray(rgb)[..., 2].tolist() == [[0, 0], [128, 255]]
    assert notes == ("converted from 16-bit greyscale",)


def test_big_endian_16_bit_greyscale_is_scaled():
    photo = Image.frombytes("I;16B", (2, 2), bytes([0, 255, 1, 0, 128, 0, 255, 255]))
    assert np.asarray(to_rgb(photo, "ignore")[0])[..., 0].tolist() == [[0, 1], [128, 255]]


def test_32_bit_integers_within_16_bits_are_scaled():
    rgb, notes = to_rgb(reopened(grey([[0, 256], [32896, 65535]], np.int32), "TIFF"), "ignore")

    assert np.asarray(rgb)[..., 0].tolist() == [[0, 1], [128, 255]]
    assert notes == ("converted from 16-bit greyscale",)


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_grey_levels_that_would_all_become_black_are_refused(kind):
    with pytest.raises(PhotoError, match=r"values 0\.\.255 are black among 16 bits: save the photo with 8 bits"):
        to_rgb(reopened(grey([[0, 7], [128, 255]], kind), "TIFF"), "ignore")
    assert not np.asarray(to_rgb(reopened(grey([[0, 0], [0, 0]], kind), "TIFF"), "ignore")[0]).any()


@pytest.mark.parametrize(("lowest", "highest"), [(-5, 9), (0, 65536)])
def test_integers_beyond_16_bits_are_refused(lowest, highest):
    with pytest.raises(PhotoError, match=rf"values {lowest}\.\.{highest} exceed 16 bits") as caught:
        to_rgb(grey([[lowest, 0], [0, highest]], np.int32), "ignore")
    assert caught.value.kind is ErrorKind.UNDECODABLE


def test_floating_point_pixels_are_refused():
    with pytest.raises(PhotoError, match="PIL mode F has no defined conversion to RGB") as caught:
        to_rgb(reopened(grey([[0, 1], [1, 0]], np.float32), "TIFF"), "ignore")
    assert caught.value.kind is ErrorKind.UNDECODABLE


def animation() -> bytes:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8)) for _ in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def test_the_first_frame_of_an_animation_is_used():
    colours = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    photo = reopened(colours[0], "PNG", save_all=True, append_images=colours[1:])

    rgb, notes = to_rgb(photo, "ignore")

    assert rgb.getpixel((0, 0)) == (255, 0, 0)
    assert notes == ("first of several frames",)


def decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        return False
    return True


def test_an_animation_damaged_after_its_first_frame_is_used():
    data = animation()
    whole, notes = to_rgb(Image.open(io.BytesIO(data)), "ignore")
    assert notes == ("converted from a palette", "first of several frames")

    first_frame_ends = next(end for end in range(len(data)) if decodes(data[:end]))
    for end in range(first_frame_ends, len(data), 11):
        rgb, _ = to_rgb(Image.open(io.BytesIO(data[:end])), "ignore")
        assert np.array_equal(np.asarray(rgb), np.asarray(whole)), f"cut at byte {end}"


def test_exif_orientation_is_ignored_with_a_note():
    photo = with_orientation(6)

    rgb, notes = to_rgb(photo, "ignore")

    assert rgb.size == (3, 2)
    assert np.asarray(rgb)[..., 0].tolist() == [[0, 3, 6], [9, 12, 15]]
    assert notes == ("EXIF orientation 6 ignored",)


def test_exif_orientation_6_rotates_by_90_degrees_clockwise():
    rgb, notes = to_rgb(with_orientation(6), "apply")

    assert np.asarray(rgb)[..., 0].tolist() == [[9, 0], [12, 3], [15, 6]]
    assert notes == ("EXIF orientation 6 applied",)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_every_exif_orientation_is_applied_as_by_pil(orientation):
    rgb, _ = to_rgb(with_orientation(orientation), "apply")
    expected = ImageOps.exif_transpose(with_orientation(orientation))
    assert np.array_equal(np.asarray(rgb), np.asarray(expected))


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_exif_orientation_without_effect_adds_no_note(orientation):
    assert to_rgb(with_orientation(orientation), "apply")[1] == ()


def test_a_rotated_photo_is_not_rotated_again():
    once, _ = to_rgb(with_orientation(8), "apply")
    twice, notes = to_rgb(once, "apply")
    assert notes == ()
    assert np.array_equal(np.asarray(twice), np.asarray(once))


def test_a_tiff_that_pil_has_rotated_is_not_rotated_again():
    photo = reopened(grey([[1, 2, 3], [4, 5, 6]]), "TIFF", tiffinfo={ORIENTATION: 6})
    for exif in ("ignore", "apply"):
        rgb, notes = to_rgb(photo, exif)
        assert np.asarray(rgb)[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]
        assert notes == ("converted from greyscale",)


def test_a_palette_photo_without_a_palette_is_refused():
    photo = reopened(palette_photo(), "PNG")
    photo.load()
    photo.palette = None  # as PIL leaves it for a file without the chunk PLTE
    with pytest.raises(PhotoError, match="it has no palette: save the photo again as RGB") as caught:
        to_rgb(photo, "ignore")
    assert caught.value.kind is ErrorKind.UNDECODABLE


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_a_photo_one_pixel_wide_or_high_is_too_small(size):
    width, height = size
    with pytest.raises(PhotoError, match=rf"{width} x {height} px .* at least 2") as caught:
        to_rgb(Image.new("RGB", size), "ignore")
    assert caught.value.kind is ErrorKind.TOO_SMALL


def test_the_smallest_allowed_photo_has_a_grid_and_a_posterior():
    rgb, _ = to_rgb(Image.new("RGB", (MIN_SIDE, MIN_SIDE)), "ignore")
    probs = np.full((2, MIN_SIDE, MIN_SIDE), 0.5)

    assert patch_grid((rgb.height, rgb.width), 16) == (1, 1)
    assert dense_crf(np.asarray(rgb), probs, CrfConfig()) == pytest.approx(probs, abs=1e-6)


def test_a_truncated_file_raises_the_error_of_pil():
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(buffer, "JPEG")
    photo = Image.open(io.BytesIO(buffer.getvalue()[:-800]))
    with pytest.raises(OSError, match="truncated"):
        to_rgb(photo, "ignore")


def test_the_given_photo_is_not_changed():
    photo = palette_photo()
    photo.info["transparency"] = 0
    before = photo.tobytes(), dict(photo.info)
    to_rgb(photo, "apply")
    assert (photo.tobytes(), dict(photo.info)) == before
    assert photo.mode == "P"


def test_real_photos_are_not_changed(real_data):
    for path in sorted((real_data / "JPEGImages").glob("2007_0000*.jpg")):
        rgb, notes = to_rgb(Image.open(path), "ignore")
        assert notes == ()
        assert np.array_equal(np.asarray(rgb), np.asarray(Image.open(path)))
