import base64
import io

import numpy as np
import pytest
from PIL import Image
from support.report_pages import Element, picture

from clipes.tasks.report.gallery.pictures import (
    Pictures,
    data_uri,
    grey_canvas,
    small_ids,
    small_levels,
    small_photo,
)


@pytest.mark.parametrize(("size", "shape"), [((640, 480), (384, 512, 3)), ((100, 50), (50, 100, 3))])
def test_a_photo_is_reduced_to_512_px_and_never_enlarged(size, shape):
    assert small_photo(Image.new("RGB", size)).shape == shape


def test_the_placeholder_for_a_photo_is_grey_and_has_its_size():
    canvas = grey_canvas((480, 640), 320)
    assert canvas.shape == (240, 320, 3)
    assert (canvas == 128).all()


def test_reducing_ids_does_not_mix_them():
    ids = np.array([[0, 0, 255, 255], [0, 0, 255, 255], [7, 7, 7, 7], [7, 7, 7, 7]], np.uint8)
    assert small_ids(ids, (2, 2)).tolist() == [[0, 255], [7, 7]]
    assert set(np.unique(small_ids(ids, (3, 3)))) == {0, 7, 255}


def test_reducing_confidence_levels_averages_them():
    levels = np.array([[0, 200, 255, 255], [100, 100, 255, 255]], np.uint8)
    assert small_levels(levels, (1, 2)).tolist() == [[100, 255]]


@pytest.mark.parametrize("shape", [(8, 16), (8, 16, 3)])
def test_a_picture_survives_its_data_uri(shape):
    image = np.full(shape, 120, np.uint8)
    shown = picture(Element("img", {"src": data_uri(image)}))
    assert shown.size == (16, 8)
    np.testing.assert_allclose(np.asarray(shown), 120, atol=3)


IMAGE = np.full((8, 16, 3), 120, np.uint8)
OTHER = data_uri(IMAGE[:4])


def page_with(key):
    """Return a page whose picture with this key has other pixels, so that a test sees where a picture comes from."""
    return f'<p><img src="{OTHER}" data-key="{key}" alt="x"></p>'


def test_a_picture_of_the_same_pixels_is_taken_from_the_last_report():
    key = Pictures().encoded("Photo", IMAGE).key
    found = Pictures(page_with(key)).encoded("Mask", IMAGE)
    assert (found.title, found.uri, found.key) == ("Mask", OTHER, key)


@pytest.mark.parametrize("image", [IMAGE + 1, IMAGE[:, :8], IMAGE.reshape(16, 8, 3), IMAGE[..., 0]])
def test_a_picture_of_other_pixels_is_made(image):
    pictures = Pictures(page_with(Pictures().encoded("Photo", IMAGE).key))
    assert pictures.encoded("Photo", image).uri == data_uri(image)


def test_a_drawing_with_the_same_source_is_not_drawn_again():
    pictures = Pictures()
    first = pictures.drawn("Loss", [1, 2.5, None], lambda: IMAGE)
    assert first.size_hw == (8, 16)
    assert pictures.drawn("Loss", [1, 2.5, None], lambda: pytest.fail("must not be drawn")) == first
    assert pictures.drawn("Loss", [1, 2.5, 0], lambda: IMAGE[:4]).uri == data_uri(IMAGE[:4], lossless=True)


INDICES = np.array([[0, 1, 2, 0, 2]] * 3, np.uint8)
COLOURS = np.array([[0, 0, 0, 0], [10, 20, 30, 255], [40, 50, 60, 99]], np.uint8)


def test_a_picture_in_few_colours_keeps_every_pixel():
    found = Pictures().indexed("Mask", INDICES, COLOURS, "mask")
    data = base64.b64decode(found.uri.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert np.asarray(image).tolist() == INDICES.tolist()
        assert (np.asarray(image.convert("RGBA")) == COLOURS[INDICES]).all()


def test_a_picture_in_few_colours_is_taken_from_the_last_report():
    made = Pictures().indexed("Mask", INDICES, COLOURS, "mask")
    page = f'<img src="{data_uri(IMAGE)}" data-key="{made.key}">'
    assert Pictures(page).indexed("Mask", INDICES, COLOURS, "mask").uri == data_uri(IMAGE)
    assert Pictures(page).indexed("Mask", INDICES, COLOURS + 1, "mask").uri != data_uri(IMAGE)


def test_text_in_a_report_is_no_picture():
    key = Pictures().encoded("Photo", IMAGE).key
    for page in (page_with(key).replace("<", "&lt;"), page_with(key).replace("base64,", 'base64,"'), "\x00\ud800"):
        assert Pictures(page).encoded("Photo", IMAGE).uri == data_uri(IMAGE)
