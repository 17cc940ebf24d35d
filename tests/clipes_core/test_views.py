from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from support import oracle
from support.cam_cases import (
    CLASS_IDS,
    VOCABULARY,
    cams_of,
    features_of,
    oracle_words,
)

from clipes_core.backbones.vit import VitBackbone
from clipes_core.config.pseudo_masks import CamConfig, PromptsConfig
from clipes_core.views import View, Viewer, average, average_maps, list_views

pytestmark = pytest.mark.usefixtures("one_thread")

VIEWS = {"scales": (0.5, 1.0, 1.5), "flip": True}


@pytest.mark.parametrize("fusion", ["sentence", "cam"])
@pytest.mark.parametrize("refine", ["none", "mhsa"])
@pytest.mark.parametrize("views", [{"scales": (0.5, 1.0, 1.5)}, {"flip": True}, VIEWS, {"scales": (1.5,)}])
def test_scales_and_mirror_images_are_averaged_as_in_the_oracle(model, photo, views, refine, fusion):
    # Without boxes the result is continuous, so it can be compared with the oracle's from end to end.
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig(fusion=fusion))
    actual = cams_of(backbone, texts, photo, CLASS_IDS, refine=refine, **views)
    words = oracle_words(CLASS_IDS, fusion)
    background = VOCABULARY.background_words
    expected = oracle.oracle_cams(model, photo, words, background, refine=refine, fusion=fusion, **views)
    assert actual.cam.shape == (3, 8, 10)
    assert_allclose(actual.scores, expected.scores, rtol=1e-4)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=1e-4)
    assert_allclose(actual.refined_cam, expected.refined, rtol=0, atol=1e-4)


@pytest.mark.parametrize("views", [VIEWS, {"scales": (1.5, 0.5), "flip": False}])
def test_refined_cams_are_averaged_over_photos_resized_and_mirrored_by_hand(model, photo, views):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig())
    actual = cams_of(backbone, texts, photo, CLASS_IDS, **views)
    seen = []
    for scale, mirrored in product(views["scales"], (False, True) if views["flip"] else (False,)):
        view = Image.fromarray(oracle.view_pixels(photo, scale, 16, mirrored))
        cams = cams_of(backbone, texts, view, CLASS_IDS)
        upright = [maps[:, :, ::-1] if mirrored else maps for maps in (cams.cam, cams.refined_cam)]
        seen.append((cams.scores, *(oracle.resized(maps, (8, 10)) for maps in upright)))
    for result, parts in zip((actual.scores, actual.cam, actual.refined_cam), zip(*seen, strict=True), strict=True):
        assert_allclose(result, np.mean(parts, axis=0), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_a_mirrored_view_is_resized_like_the_photo(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    plain, mirrored = (np.asarray(View(1.0, flip).show(Image.fromarray(pixels), 8)) for flip in (False, True))
    assert plain.shape == (24, 8 * -(-size[0] // 8), 3)
    assert np.array_equal(mirrored, plain[:, ::-1])
    assert not np.array_equal(mirrored, plain)


def test_a_photo_at_scale_one_is_not_copied():
    image = Image.new("RGB", (16, 24))
    assert View(1.0, flip=False).show(image, 8) is image


def test_a_viewer_makes_one_array_of_whole_patches_per_view():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8))
    views = list_views(CamConfig(scales=(1.0, 2.0), flip=True))
    photo = Viewer(views, 8).show(image)
    assert photo.size_hw == (17, 23)
    assert [view.shape for view in photo.views] == [(24, 24, 3)] * 2 + [(40, 48, 3)] * 2
    for view, shown in zip(views, photo.views, strict=True):
        assert shown.dtype == np.uint8
        assert np.array_equal(shown, np.asarray(view.show(image, 8)))


def test_larger_and_more_views_need_more_memory():
    one, two, large = (
        Viewer(list_views(CamConfig(scales=scales)), 16).needed_bytes((500, 400))
        for scales in [(1.0,), (1.0, 1.0), (2.0,)]
    )
    assert 3 * 500 * 400 < one < two < large


def test_each_scale_is_followed_by_its_mirror_image():
    assert list_views(CamConfig()) == (View(1.0, False),)
    views = list_views(CamConfig(scales=(0.5, 1.0), flip=True))
    assert views == (View(0.5, False), View(0.5, True), View(1.0, False), View(1.0, True))


def test_maps_of_a_mirrored_view_are_mirrored_back_before_the_average():
    plain, mirrored = np.array([[[1.0, 0.0, 0.5]]], np.float32), np.array([[[0.5, 1.0, 0.0]]], np.float32)
    averaged = average_maps([plain, mirrored], [View(1.0, False), View(1.0, True)], (1, 3))
    assert averaged.tolist() == [[[0.5, 0.5, 0.5]]]
    assert averaged.dtype == np.float32


def test_maps_of_other_scales_are_resized_bilinearly():
    # the cells of a grid twice as fine lie a quarter of a cell before and after each centre
    coarse = np.array([[[0.0, 1.0]]], np.float32)
    assert View(0.5, False).to_grid(coarse, (1, 4)).tolist() == [[[0, 0.25, 0.75, 1]]]


def test_the_average_of_one_view_is_a_new_array():
    scores = np.array([0.25, 0.75], np.float32)
    averaged = average([scores])
    assert averaged.tolist() == [0.25, 0.75]
    assert not np.shares_memory(averaged, scores)
