import dataclasses
import io
import struct
import threading
import warnings
import zlib

import fsspec
import numpy as np
import pytest
from PIL import ExifTags, Image
from support.permissions import unprivileged

from clipes.tasks.inputs.photos import PHOTOS_AHEAD, Photo, decoding_bytes, load_photo, load_photos
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.errors import PhotoError
from clipes_core.views import Viewer, list_views

CONFIG = DatasetConfig(root="/")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def photo(uri, image_id="a"):
    return Photo(image_id, str(uri), 1, "1", (3,))


def halves(size=(8, 6)):
    """Return an RGB picture whose left half is red and whose right half is blue."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture


def pixels(loaded):
    return np.asarray(loaded.image)


def failure(uri, config=CONFIG):
    with pytest.raises(PhotoError) as caught:
        load_photo(photo(uri), config)
    return caught.value


def png_header(width, height):
    """Return a PNG that announces a size but contains no pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_the_pixels_of_a_photo_are_loaded_exactly(tmp_path):
    halves().save(tmp_path / "a.png")

    loaded = load_photo(photo(tmp_path / "a.png"), CONFIG)

    assert loaded.image.mode == "RGB"
    assert loaded.size_hw == (6, 8)
    assert loaded.notes == ()
    assert (pixels(loaded) == np.asarray(halves())).all()


def test_a_real_photo_equals_what_pil_decodes(real_data):
    path = real_data / "JPEGImages" / "2007_000068.jpg"
    loaded = load_photo(photo(path), CONFIG)

    assert loaded.size_hw == (375, 500)
    assert loaded.notes == ()
    assert (pixels(loaded) == np.asarray(Image.open(path).convert("RGB"))).all()


@pytest.mark.parametrize("uri", ["memory://photos/ä b.png", "file://{folder}/ä b.png"])
def test_a_photo_may_be_read_from_any_uri(tmp_path, uri):
    uri = uri.format(folder=tmp_path)
    buffer = io.BytesIO()
    halves().save(buffer, "PNG")
    fs, path = fsspec.core.url_to_fs(uri)
    fs.pipe_file(path, buffer.getvalue())

    assert load_photo(photo(uri), CONFIG).size_hw == (6, 8)


def test_a_photo_may_be_on_s3(s3_folder):
    buffer = io.BytesIO()
    halves().save(buffer, "PNG")
    fs, path = fsspec.core.url_to_fs(f"{s3_folder}/ä b.png")
    fs.pipe_file(path, buffer.getvalue())

    assert load_photo(photo(f"{s3_folder}/ä b.png"), CONFIG).size_hw == (6, 8)
    assert failure(f"{s3_folder}/none.png").kind == "missing"
    no_bucket = failure("s3://nobodys-bucket/a.png")
    assert no_bucket.kind == "unreadable"
    assert no_bucket.reason == "s3://nobodys-bucket/a.png: the bucket does not exist; create it or name another bucket"


def test_cmyk_is_converted_and_noted(tmp_path):
    halves((16, 16)).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)

    loaded = load_photo(photo(tmp_path / "a.jpg"), CONFIG)

    assert loaded.notes == ("converted from CMYK",)
    np.testing.assert_allclose(pixels(loaded)[0, [0, -1]], [RED, BLUE], atol=6)


def test_16_bits_are_scaled_and_noted(tmp_path):
    Image.fromarray(np.full((2, 3), 0x8040, np.uint16)).save(tmp_path / "a.png")

    loaded = load_photo(photo(tmp_path / "a.png"), CONFIG)

    assert loaded.notes == ("converted from 16-bit greyscale",)
    assert (pixels(loaded) == 0x80).all()


def test_alpha_is_composited_on_white_and_noted(tmp_path):
    picture = Image.new("RGBA", (2, 2), (*RED, 0))
    picture.putpixel((0, 0), (*RED, 255))
    picture.save(tmp_path / "a.png")

    loaded = load_photo(photo(tmp_path / "a.png"), CONFIG)

    assert loaded.notes == ("alpha composited on white",)
    assert pixels(loaded)[0].tolist() == [list(RED), [255, 255, 255]]


@pytest.mark.parametrize(
    ("exif", "size_hw", "corner"), [("ignore", (16, 32), BLUE), ("apply", (32, 16), RED)], ids=["ignore", "apply"]
)
def test_exif_rotation_is_ignored_or_applied_and_noted(tmp_path, exif, size_hw, corner):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6  # orientation 6: rotate clockwise to display
    halves((32, 16)).save(tmp_path / "a.jpg", exif=tags, quality=100, subsampling=0)

    loaded = load_photo(photo(tmp_path / "a.jpg"), DatasetConfig(root="/", exif=exif))

    assert loaded.size_hw == size_hw
    assert loaded.image.size == size_hw[::-1]
    assert loaded.notes == (f"EXIF orientation 6 {'ignored' if exif == 'ignore' else 'applied'}",)
    np.testing.assert_allclose(pixels(loaded)[0, -1], corner, atol=6)


def test_a_large_photo_is_reduced_and_its_own_size_is_kept(tmp_path):
    halves((100, 60)).save(tmp_path / "a.png")

    loaded = load_photo(photo(tmp_path / "a.png"), DatasetConfig(root="/", max_side=50))

    assert loaded.image.size == (50, 30)
    assert loaded.size_hw == (60, 100)
    assert loaded.notes == ("reduced from 100x60 to 50x30",)


def test_a_photo_of_the_largest_side_is_not_reduced(tmp_path):
    halves((100, 60)).save(tmp_path / "a.png")
    loaded = load_photo(photo(tmp_path / "a.png"), DatasetConfig(root="/", max_side=100))
    assert (loaded.image.size, loaded.notes) == ((100, 60), ())


def test_a_photo_is_rotated_before_it_is_reduced(tmp_path):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 8
    halves((80, 40)).convert("L").save(tmp_path / "a.jpg", exif=tags)

    loaded = load_photo(photo(tmp_path / "a.jpg"), DatasetConfig(root="/", exif="apply", max_side=40))

    assert (loaded.size_hw, loaded.image.size) == ((80, 40), (20, 40))
    assert loaded.notes == (
        "converted from greyscale",
        "EXIF orientation 8 applied",
        "reduced from 40x80 to 20x40",
    )


def test_a_wrong_suffix_is_noted_and_the_content_determines_the_format(tmp_path):
    halves().save(tmp_path / "a.jpg", "PNG")
    halves().save(tmp_path / "b.png", "JPEG")
    halves().save(tmp_path / "c", "PNG")

    notes = {name: load_photo(photo(tmp_path / name), CONFIG).notes for name in ("a.jpg", "b.png", "c")}

    assert notes == {
        "a.jpg": ("the content is PNG, but the file name ends in .jpg",),
        "b.png": ("the content is JPEG, but the file name ends in .png",),
        "c": (),
    }


def test_a_jpeg_with_several_pictures_has_no_note_about_its_suffix(tmp_path):
    halves().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[halves()])
    assert load_photo(photo(tmp_path / "a.jpg"), CONFIG).notes == ("first of several frames",)


@pytest.mark.parametrize(
    ("stated", "notes"),
    [(None, ()), ((32, 16), ()), ((16, 32), ()), ((32, 17), ("the label file states 32x17, but the photo has 16x32",))],
)
def test_a_photo_size_that_differs_from_the_labels_is_noted(tmp_path, stated, notes):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    halves((32, 16)).save(tmp_path / "a.png", exif=tags)
    listed = dataclasses.replace(photo(tmp_path / "a.png"), stated_size=stated)

    loaded = load_photo(listed, DatasetConfig(root="/", exif="apply"))

    assert loaded.notes == ("EXIF orientation 6 applied", *notes)


def test_a_photo_without_read_permission_is_unreadable(tmp_path):
    for name in ("a.png", "b.png"):
        halves().save(tmp_path / name)
    (tmp_path / "a.png").chmod(0)
    with unprivileged(tmp_path):
        error = failure(tmp_path / "a.png")
        load_photo(photo(tmp_path / "b.png"), CONFIG)
    assert error.kind == "unreadable"
    assert "Permission denied" in error.reason


@pytest.mark.parametrize(("kind", "reason"), [("EPS", "a PostScript"), ("SPIDER", "not an image in a known format")])
def test_formats_that_are_unsafe_to_decode_are_refused(tmp_path, kind, reason):
    halves().convert("L").save(tmp_path / "a.other", kind)  # a.jpg would register the suffix in PIL
    (tmp_path / "a.other").rename(tmp_path / "a.jpg")
    assert reason in failure(tmp_path / "a.jpg").reason


def test_a_missing_photo_is_an_error(tmp_path):
    error = failure(tmp_path / "none.jpg")
    assert (error.kind, error.reason) == ("missing", f"{tmp_path}/none.jpg does not exist")


def test_a_missing_photo_in_another_store_is_an_error():
    assert failure("memory://photos/none.jpg").kind == "missing"


def test_a_folder_in_place_of_a_photo_is_an_error(tmp_path):
    error = failure(tmp_path)
    assert error.kind == "unreadable"
    assert error.reason.startswith(f"{tmp_path} cannot be used (")


def test_a_photo_below_a_file_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    error = failure(tmp_path / "a.jpg" / "b.jpg")
    assert error.kind == "unreadable"
    assert "Not a directory" in error.reason


def damaged(kind, tmp_path):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    content = buffer.getvalue()
    path = tmp_path / "a.jpg"
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "AVIF"])
def test_a_truncated_photo_is_undecodable(tmp_path, kind):
    path = damaged(kind, tmp_path)
    error = failure(path)
    assert error.kind == "undecodable"
    assert error.reason.startswith(f"{path} ({path.stat().st_size} bytes) cannot be decoded: ")


@pytest.mark.parametrize("content", [b"<not html>", b"\xff\xd8", b"\0" * 4096, b"GIF89a"])
def test_a_file_that_is_not_an_image_is_undecodable(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)

    error = failure(tmp_path / "a.jpg")

    assert error.kind == "undecodable"
    what = f"{tmp_path}/a.jpg ({len(content)} bytes) cannot be decoded: not an image in a known format"
    assert error.reason == what


def test_a_format_variant_unknown_to_pil_is_undecodable(tmp_path):
    """Cover a format variant for which PIL raises NotImplementedError, which is not an OSError."""
    buffer = io.BytesIO()
    halves().save(buffer, "DDS")
    content = bytearray(buffer.getvalue())
    content[80:84] = bytes(4)  # flags of the pixel format
    (tmp_path / "a.dds").write_bytes(content)

    error = failure(tmp_path / "a.dds")
    assert error.kind == "undecodable"
    assert "Unknown pixel format flags 0" in error.reason


def test_a_photo_that_would_fill_the_memory_is_undecodable(tmp_path):
    (tmp_path / "a.png").write_bytes(png_header(20_000, 20_000))

    error = failure(tmp_path / "a.png")

    assert error.kind == "undecodable"
    assert "400000000 pixels" in error.reason


def test_a_very_large_photo_is_decoded_without_the_warning_of_pil(tmp_path):
    """PIL warns about photos of 89 to 179 million pixels, although real panoramas are that large."""
    Image.new("1", (10_000, 9_000), 1).save(tmp_path / "a.png")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_photo(photo(tmp_path / "a.png"), DatasetConfig(root="/", max_side=50))

    assert loaded.size_hw == (9_000, 10_000)
    assert loaded.image.size == (50, 45)


@pytest.mark.parametrize("exif", ["ignore", "apply"])
def test_a_large_jpeg_may_be_decoded_at_a_part_of_its_size(tmp_path, exif):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    halves((1601, 1203)).resize((1601, 1203)).save(tmp_path / "a.jpg", exif=tags, quality=95)
    listed = dataclasses.replace(photo(tmp_path / "a.jpg"), stated_size=(1601, 1203))

    full, reduced = (
        load_photo(listed, DatasetConfig(root="/", exif=exif, max_side=200, jpeg_scale=scale))
        for scale in ("full", "reduced")
    )

    assert reduced.size_hw == full.size_hw == ((1203, 1601) if exif == "ignore" else (1601, 1203))
    assert reduced.image.size == full.image.size
    assert reduced.notes == full.notes
    assert len(full.notes) == 2  # about the orientation and the reduction, not about the stated size
    differences = np.abs(pixels(reduced).astype(int) - pixels(full))
    assert 0 < differences.mean() < 1


def test_jpegs_up_to_the_largest_side_and_other_formats_are_decoded_exactly(tmp_path):
    config = DatasetConfig(root="/", max_side=200, jpeg_scale="reduced")
    halves((200, 150)).save(tmp_path / "a.jpg")
    halves((1600, 1200)).save(tmp_path / "a.png")
    for name in ("a.jpg", "a.png"):
        exact = load_photo(photo(tmp_path / name), config.model_copy(update={"jpeg_scale": "full"}))
        assert np.array_equal(pixels(load_photo(photo(tmp_path / name), config)), pixels(exact))


def test_a_file_larger_than_any_photo_is_not_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(3 << 30)
    listed = dataclasses.replace(photo(tmp_path / "a.jpg"), size_bytes=3 << 30)
    ((_, error),) = load_photos([listed], CONFIG)
    assert error.kind == "undecodable"
    assert error.reason.startswith(f"{tmp_path}/a.jpg has 3221225472 bytes and was not read: a photo has at most")


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert failure(tmp_path / "a.jpg").reason == f"{tmp_path}/a.jpg (0 bytes) cannot be decoded: the file is empty"


def test_a_photo_of_one_row_is_too_small(tmp_path):
    halves((8, 1)).save(tmp_path / "a.png")
    error = failure(tmp_path / "a.png")
    assert error.kind == "too_small"
    assert "8 x 1 px" in error.reason


def test_photos_and_failures_are_returned_in_order(tmp_path):
    names = [f"{number:02d}" for number in range(3 * PHOTOS_AHEAD)]
    for number, name in enumerate(names):
        if number % 5:
            halves((8 + number, 6)).save(tmp_path / f"{name}.png")

    found = list(load_photos([photo(tmp_path / f"{name}.png", name) for name in names], CONFIG))

    assert [each.image_id for each, _ in found] == names
    for number, (_, loaded) in enumerate(found):
        if number % 5:
            assert loaded.size_hw == (6, 8 + number)
        else:
            assert loaded.kind == "missing"


def test_a_few_photos_are_loaded_ahead(tmp_path):
    taken = []

    def listed():
        for number in range(100):
            taken.append(number)
            yield photo(tmp_path / "none.jpg", str(number))

    found = load_photos(listed(), CONFIG)
    next(found)

    assert len(taken) == PHOTOS_AHEAD + 1
    found.close()
    assert len(taken) == PHOTOS_AHEAD + 1


def test_an_empty_list_loads_nothing():
    assert list(load_photos([], CONFIG)) == []


def test_photos_are_resized_for_the_network_by_the_threads_that_load_them(tmp_path):
    halves((30, 20)).save(tmp_path / "a.png")
    threads = []

    class OwnViewer(Viewer):
        def show(self, image):
            threads.append(threading.current_thread().name)
            return super().show(image)

    viewer = OwnViewer(list_views(CamConfig(flip=True)), 8)
    config = DatasetConfig(root="/", max_side=32)
    found = list(load_photos([photo(tmp_path / "a.png"), photo(tmp_path / "none.png")], config, 64, viewer))

    loaded, missing = (each for _, each in found)
    assert (loaded.size_hw, loaded.image.size_hw) == ((20, 30), (20, 30))
    assert all(map(np.array_equal, loaded.image.views, viewer.show(halves((30, 20))).views))
    assert missing.kind == "missing"
    assert threads[0].startswith("photos")


def test_a_photo_whose_views_exceed_the_memory_fails_alone(tmp_path):
    halves().save(tmp_path / "a.png")

    class SmallViewer(Viewer):
        def show(self, image):
            raise MemoryError

    ((_, error),) = load_photos([photo(tmp_path / "a.png")], CONFIG, 64, SmallViewer(list_views(CamConfig()), 8))
    assert (error.kind, error.reason) == ("out_of_memory", f"{tmp_path}/a.png is too large to be resized for CLIP")


def test_the_views_of_a_photo_count_in_the_memory_for_decoding(tmp_path):
    halves((300, 200)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    plain, viewed = (
        decoding_bytes(photo(tmp_path / "a.png"), data, CONFIG, viewer)
        for viewer in (None, Viewer(list_views(CamConfig(scales=(4.0,))), 16))
    )
    assert viewed > 16 * (4 + 4 + 3 + 3) * 300 * 200 > plain
