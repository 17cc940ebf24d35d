import base64
import io

import numpy as np
import pytest
from PIL import Image

from clipes.tasks.report.gallery.forms import MASK_OPACITY, Drawings, Layers
from clipes.tasks.report.gallery.pictures import Pictures
from clipes_core.pictures.class_colours import class_styles

PHOTO = np.full((32, 48, 3), 128, np.uint8)
IDS = np.zeros((16, 24), np.uint8)
IDS[:, 12:], IDS[:4] = 7, 255
STYLES = class_styles([7])


def opened(found):
    return Image.open(io.BytesIO(base64.b64decode(found.uri.partition(",")[2])))


@pytest.mark.parametrize("form", [Layers(Pictures()), Drawings(Pictures())])
def test_pictures_have_roles_titles_and_the_size_of_the_photo(form):
    found = [
        form.photo(PHOTO),
        form.levels(PHOTO, IDS),
        form.ids("Truth", "truth", PHOTO, IDS, STYLES),
        form.cam("Initial CAM", PHOTO, np.zeros((2, 3))),
    ]
    assert [(each.title, each.role) for each in found] == [
        ("Photo", "photo"),
        ("Confidence", "confidence"),
        ("Truth", "truth"),
        ("Initial CAM", "cam"),
    ]
    assert {each.size_hw for each in found} == {(32, 48)}


def test_a_layer_of_ids_keeps_every_id_and_is_transparent_in_the_background():
    found = Layers(Pictures()).ids("Mask", "mask", PHOTO, IDS, STYLES)
    image = opened(found)
    assert (image.mode, found.class_ids) == ("P", (0, 7, 255))
    expected = np.repeat(np.repeat(IDS, 2, 0), 2, 1)
    assert (np.array(found.class_ids)[np.asarray(image)] == expected).all()
    rgba = np.asarray(image.convert("RGBA"))
    assert rgba[20, 0].tolist()[3] == 0
    assert rgba[20, 40].tolist() == [*STYLES[7].colour, MASK_OPACITY]


def test_a_layer_of_a_cam_has_its_own_size_and_is_opaque_where_it_is_high():
    image = opened(Layers(Pictures()).cam("CAM", PHOTO, np.array([[0.0, 0.5, 1.0]])))
    assert image.size == (3, 1)
    opacity = np.asarray(image.convert("RGBA"))[0, :, 3].tolist()
    assert opacity[0] == 0 < opacity[1] < opacity[2] == 191


def test_a_drawing_of_ids_colours_the_photo():
    pixels = np.asarray(opened(Drawings(Pictures()).ids("Mask", "mask", PHOTO, IDS, STYLES))).astype(int)
    assert np.abs(pixels[20, 4] - 128).max() < 10  # the background is not coloured
    assert np.abs(pixels[20, 43] - STYLES[7].colour).sum() < np.abs(128 - np.array(STYLES[7].colour)).sum() / 1.5


def test_a_drawing_of_a_cam_is_grey_where_it_is_low():
    pixels = np.asarray(opened(Drawings(Pictures()).cam("CAM", PHOTO, np.array([[0.0, 1.0]])))).astype(int)
    assert np.ptp(pixels[16, 2]) < 12
    assert np.ptp(pixels[16, 45]) > 40
