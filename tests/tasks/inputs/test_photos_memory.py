"""The memory that the loading of photos needs, measured in processes of their own."""

import numpy as np
import pytest
from PIL import ExifTags, Image
from support.decoding_memory import peak_mib

from clipes.tasks.inputs.photos import Photo, decoding_bytes, load_photo
from clipes_core.config.dataset import DatasetConfig
from clipes_core.preprocessing import limit_side

SLACK_MIB = 96  # memory that PIL, its codecs and the threads keep for themselves


def test_photos_that_are_decoded_at_the_same_time_stay_below_the_budget(tmp_path):
    """Decode four PNGs of 137 MiB each, one after another because of the budget."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    Image.new("RGB", (6000, 6000)).save(paths[0], compress_level=1)
    for path in paths[1:]:
        path.symlink_to(paths[0])
    assert peak_mib(paths, 200) < 200 + SLACK_MIB


def test_a_large_photo_with_transparency_is_converted_without_a_copy_of_the_whole(tmp_path):
    """Decode a PNG of 95 MiB, which PIL needs four times to composite it on white."""
    Image.new("RGBA", (5000, 5000)).save(tmp_path / "a.png", compress_level=1)
    assert peak_mib([tmp_path / "a.png"], 1) < 95 + 24 + 16 + SLACK_MIB


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1"])
def test_a_photo_converted_in_strips_has_the_same_pixels(tmp_path, mode):
    """Compare with the conversion of the whole photo, which PIL documents."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1400, 3001, 4), np.uint8), "RGBA")
    photo = (noise if mode in ("RGBA", "LA") else noise.convert("RGB")).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    photo.save(path, compression="raw") if mode == "CMYK" else photo.save(path, compress_level=1)
    whole = photo.convert("RGB")
    if mode in ("RGBA", "LA"):
        whole = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo.convert("RGBA")).convert("RGB")

    loaded = load_photo(Photo("a", str(path), 1, "1", ()), DatasetConfig(root="/", max_side=500))

    assert loaded.size_hw == (1400, 3001)
    assert np.array_equal(np.asarray(loaded.image), np.asarray(limit_side(whole, 500)))


FORMATS = {
    "png": ("PNG", {"compress_level": 1}),
    "jpg": ("JPEG", {"progressive": True, "subsampling": 0, "quality": 95}),
    "webp": ("WEBP", {"method": 0}),
    "avif": ("AVIF", {"speed": 10, "subsampling": "4:4:4"}),
    "jp2": ("JPEG2000", {}),
    "tif": ("TIFF", {"compression": "tiff_adobe_deflate", "tiffinfo": {278: 4000}}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("exif", ["ignore", "apply"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_no_photo_needs_more_memory_than_estimated(tmp_path, suffix, mode, exif):
    kind, options = FORMATS[suffix]
    if (suffix, mode) in (("jpg", "RGBA"), ("ppm", "RGBA")):
        pytest.skip("this format has no transparency")
    rows, columns = np.mgrid[:4000, :4000]
    pixels = np.stack([columns // 16, rows // 16, (rows + columns) // 32, rows // 20], -1).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels, "RGBA").convert(mode).save(path, kind, exif=tags, **options)
    photo = Photo("a", str(path), 1, "1", ())

    estimated = decoding_bytes(photo, path.read_bytes(), DatasetConfig(root="/", exif=exif))

    assert peak_mib([path], 1, exif) <= (estimated >> 20) + SLACK_MIB
