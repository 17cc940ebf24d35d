import numpy as np
import pytest

from clipes_core.errors import ShapeError
from clipes_core.pictures.overlay import heat_on_photo, heat_palette, ids_on_photo

PHOTO = np.full((2, 3, 3), (30, 60, 90), np.uint8)  # its grey is 60
INFERNO_TOP = np.array([252, 255, 164])  # the last entry of the published colour map
PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[7], PALETTE[255] = (200, 0, 100), (224, 224, 192)


def test_without_heat_a_photo_is_grey():
    assert heat_on_photo(PHOTO, np.zeros((1, 1))).tolist() == np.full((2, 3, 3), 60).tolist()


def test_full_heat_covers_three_quarters():
    # 60 / 4 + 0.75 * (252, 255, 164) = (204, 206.25, 138)
    heated = heat_on_photo(PHOTO, np.ones((4, 4)))
    np.testing.assert_allclose(heated[0, 0], 15 + 0.75 * INFERNO_TOP, atol=1.5)
    assert (heated == heated[0, 0]).all()


def test_heat_appears_where_the_cam_is_high():
    photo = np.full((4, 8, 3), 100, np.uint8)
    heated = heat_on_photo(photo, np.array([[0.0, 1.0]]))
    assert heated.shape == (4, 8, 3)
    assert (heated[:, :2] == 100).all()
    assert (heated[:, 6:] == heated[0, 7]).all()
    assert tuple(heated[0, 7]) != (100, 100, 100)


def test_values_beyond_the_range_are_clipped():
    assert (heat_on_photo(PHOTO, np.full((1, 1), 1.01)) == heat_on_photo(PHOTO, np.ones((1, 1)))).all()
    assert (heat_on_photo(PHOTO, np.full((1, 1), -0.01)) == 60).all()


def test_the_palette_has_the_colours_and_the_opacity_of_a_drawn_cam():
    palette = heat_palette(5)
    assert palette.shape == (5, 4)
    np.testing.assert_allclose(palette[-1, :3], INFERNO_TOP, atol=1)
    assert palette[:, 3].tolist() == [0, 48, 96, 143, 191]  # up to 0.75 of 255
    drawn = heat_on_photo(PHOTO, np.full((2, 3), 0.5))[0, 0]
    np.testing.assert_allclose(drawn, 60 * (1 - 96 / 255) + palette[2, :3] * (96 / 255), atol=2)


def test_ids_are_coloured_and_the_background_is_not():
    ids = np.array([[0, 7, 255], [0, 0, 7]], np.uint8)
    # 0.3 * (30, 60, 90) = (9, 18, 27); + 0.7 * (200, 0, 100) = (149, 18, 97); + 0.7 * (224, 224, 192) = (165.8, ...)
    coloured = ids_on_photo(PHOTO, ids, PALETTE)
    assert coloured.dtype == np.uint8
    assert coloured[0].tolist() == [[30, 60, 90], [149, 18, 97], [166, 175, 161]]
    assert coloured[1].tolist() == [[30, 60, 90], [30, 60, 90], [149, 18, 97]]


def test_the_photo_is_not_mutated():
    photo = PHOTO.copy()
    heat_on_photo(photo, np.ones((2, 2)))
    ids_on_photo(photo, np.full((2, 3), 7, np.uint8), PALETTE)
    assert (photo == PHOTO).all()


@pytest.mark.parametrize("photo", [np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 3))])
def test_rejects_an_array_that_is_not_a_photo(photo):
    with pytest.raises(ShapeError, match=r"photo must be \(H, W, 3\) uint8, got"):
        heat_on_photo(photo, np.ones((2, 2)))
    with pytest.raises(ShapeError, match=r"photo must be \(H, W, 3\) uint8, got"):
        ids_on_photo(photo, np.zeros((2, 3), np.uint8), PALETTE)


def test_rejects_maps_of_a_different_shape():
    with pytest.raises(ShapeError, match=r"cam must be \(h, w\), got \(1, 2, 2\)"):
        heat_on_photo(PHOTO, np.ones((1, 2, 2)))
    with pytest.raises(ShapeError, match=r"ids must be \(2, 3\) like the photo, got \(3, 2\)"):
        ids_on_photo(PHOTO, np.zeros((3, 2), np.uint8), PALETTE)
