import io

import numpy as np
import pytest
from PIL import Image

from clipes.tasks.inputs.pngs import grey_png, palette_png, read_palette, read_png_map, resized_ids

IDS = np.array([[0, 1, 20], [255, 254, 3]], np.uint8)


def test_a_palette_png_contains_ids_and_colours():
    palette = np.arange(768, dtype=np.uint8).reshape(256, 3)
    image = Image.open(io.BytesIO(palette_png(IDS, palette)))
    assert (image.format, image.mode) == ("PNG", "P")
    assert (np.array(image) == IDS).all()
    assert image.getpalette() == palette.ravel().tolist()
    assert (read_palette(palette_png(IDS, palette)) == palette).all()


def test_decoding_returns_ids_and_levels_instead_of_colours():
    for png in (palette_png(IDS, np.zeros((256, 3), np.uint8)), grey_png(IDS)):
        decoded = read_png_map(png)
        assert decoded.dtype == np.uint8
        assert (decoded == IDS).all()


def test_a_grey_png_contains_the_levels():
    image = Image.open(io.BytesIO(grey_png(IDS)))
    assert (image.format, image.mode) == ("PNG", "L")
    assert (np.array(image) == IDS).all()


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ((4, 3), [[0, 1, 20], [0, 1, 20], [255, 254, 3], [255, 254, 3]]),
        ((2, 1), [[1], [254]]),
        ((2, 3), IDS.tolist()),
    ],
)
def test_resizing_takes_the_nearest_id(size_hw, expected):
    resized = resized_ids(IDS, size_hw)
    assert resized.dtype == np.uint8
    assert resized.tolist() == expected
