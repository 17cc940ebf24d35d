from functools import partial

import numpy as np
import pytest
from PIL import Image
from support.crf_cases import require
from support.toy_crf_backends import NOT_INSTALLED

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.pseudo_masks import CrfConfig
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.dense_crf import check_crf, crf_image, dense_crf, dense_crfs
from clipes_core.device import finish
from clipes_core.errors import ConfigError, ErrorKind, PhotoError, ShapeError
from clipes_core.pseudo_mask import resize_cams, scores_with_background

GOLDEN_IDS = (
    "2007_000063",
    "2007_000068",
    "2007_000256",
    "2007_000363",
    "2007_000392",
    "2007_000504",
    "2007_001185",
    "2007_001340",
    "2007_001420",
)


@pytest.fixture(params=CRF_BACKENDS)
def crf_config(request):
    """Return a function that makes settings of the CRF with one of the backends."""
    require(request.param)
    return partial(CrfConfig, backend=request.param)


def grey_image(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def crop(large_scene) -> np.ndarray:
    """Return 48 x 64 px of a photo that shows the side of a bus in front of a road."""
    return np.asarray(large_scene)[40:88, 380:444]


@pytest.fixture(scope="module")
def crop_probs(crop) -> np.ndarray:
    """Return smooth scores of two classes that cross within the crop."""
    columns = np.linspace(0.1, 0.8, crop.shape[1])
    cams = np.stack([np.tile(columns, (len(crop), 1)), np.tile(columns[::-1], (len(crop), 1))])
    return scores_with_background(cams, 1)


def test_without_kernels_the_posterior_is_the_normalised_scores(crf_config):
    probs = np.array([0.9, 0.2, 0.3, 0.2]).reshape(2, 1, 2)
    posterior = dense_crf(grey_image(1, 2), probs, crf_config(pos_w=0, bi_w=0))
    assert posterior.dtype == np.float32
    assert posterior == pytest.approx(np.array([0.75, 0.5, 0.25, 0.5]).reshape(2, 1, 2))


def test_scores_are_clipped_before_the_logarithm(crf_config):
    posterior = dense_crf(grey_image(1, 2), np.array([[[0.0, 3.0]], [[1.0, 1.0]]]), crf_config(pos_w=0, bi_w=0))
    # 1e-5 / (1 + 1e-5); the score 3 is clipped to 1
    assert posterior[0] == pytest.approx(np.array([[1e-5, 0.5]]), rel=1e-3)


def test_a_lone_pixel_gets_its_own_message_through_a_kernel(crf_config):
    config = crf_config(pos_w=1, bi_w=0, iter_max=1)
    posterior = dense_crf(grey_image(1, 1), np.array([0.75, 0.25]).reshape(2, 1, 1), config)
    # one step of mean field: 0.75 e^0.75 / (0.75 e^0.75 + 0.25 e^0.25) = 1.58775 / 1.90876
    assert posterior[0].item() == pytest.approx(0.83182, abs=1e-4)


def test_a_wrong_pixel_follows_its_colour(crf_config):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    probs = np.full((2, 8, 8), 0.1)
    probs[0, :, :4] = probs[1, :, 4:] = 0.9
    probs[:, 3, 1] = 0.4, 0.6

    labels = dense_crf(image, probs, crf_config()).argmax(axis=0)

    assert np.array_equal(labels, (image[..., 0] == 255).astype(int))


@pytest.mark.parametrize("labels", [2, 3, 255])
def test_posterior_adds_up_to_one(labels, crf_config):
    rng = np.random.default_rng(labels)
    image = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)

    posterior = dense_crf(image, rng.random((labels, 5, 7)), crf_config())

    assert posterior.shape == (labels, 5, 7)
    assert posterior.min() >= 0
    assert posterior.max() <= 1
    assert posterior.sum(axis=0) == pytest.approx(np.ones((5, 7)), abs=1e-5)


def test_background_alone_is_certain(crf_config):
    posterior = dense_crf(grey_image(2, 3), np.full((1, 2, 3), 0.2), crf_config())
    assert posterior.tolist() == [[[1, 1, 1], [1, 1, 1]]]


@pytest.mark.parametrize(
    "change",
    [
        {"iter_max": 1},
        {"pos_w": 30},
        {"pos_xy_std": 9},
        {"bi_w": 0.5},
        {"bi_xy_std": 5},
        {"bi_rgb_std": 60},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_setting_changes_the_posterior_of_a_photo(crop, crop_probs, change, crf_config):
    paper = dense_crf(crop, crop_probs, crf_config())
    changed = dense_crf(crop, crop_probs, crf_config(**change))
    assert np.abs(changed - paper).max() > 0.02


def test_the_image_mode_changes_the_posterior_of_a_photo(crop, crop_probs, crf_config):
    """Use a ramp of greys that crosses the mean colour, where the image of the published program wraps around."""
    greys = np.linspace(60, 160, crop.shape[1]).astype(np.uint8)
    ramp = np.ascontiguousarray(np.broadcast_to(greys[None, :, None], crop.shape))
    photo, reference = (dense_crf(ramp, crop_probs, crf_config(), image) for image in ("rgb", "reference"))
    assert np.abs(reference - photo).max() > 0.02


@pytest.mark.parametrize("kernels", [{"pos_w": 0}, {"bi_w": 0}])
def test_a_kernel_without_weight_equals_one_of_negligible_weight(crop, crop_probs, kernels, crf_config):
    without = dense_crf(crop, crop_probs, crf_config(**kernels))
    negligible = dense_crf(crop, crop_probs, crf_config(**dict.fromkeys(kernels, 1e-9)))
    assert np.abs(without - negligible).max() < 1e-5


def test_equal_inputs_give_equal_posteriors(crop, crop_probs, crf_config):
    assert np.array_equal(*(dense_crf(crop, crop_probs, crf_config()) for _ in range(2)))


def test_memory_layout_does_not_matter(crop, crop_probs, crf_config):
    mirrored = dense_crf(crop[:, ::-1], crop_probs[..., ::-1].astype(np.float32), crf_config())
    contiguous = dense_crf(
        np.ascontiguousarray(crop[:, ::-1]), np.ascontiguousarray(crop_probs[..., ::-1]), crf_config()
    )
    assert mirrored == pytest.approx(contiguous, abs=1e-4)


@pytest.mark.parametrize("mode", ["rgb", "reference"])
def test_does_not_mutate_its_inputs(crop, crop_probs, mode, crf_config):
    image, probs = crop.copy(), crop_probs.astype(np.float32)
    dense_crf(image, probs, crf_config(), mode)
    assert np.array_equal(image, crop)
    assert np.array_equal(probs, crop_probs.astype(np.float32))


@pytest.mark.parametrize("std", ["pos_xy_std", "bi_xy_std", "bi_rgb_std"])
def test_the_smallest_standard_deviations_do_not_crash(std, crf_config):
    image = np.zeros((4, 2000, 3), np.uint8)
    image[:, 1000:] = 255
    posterior = dense_crf(image, np.full((2, 4, 2000), 0.5), crf_config(iter_max=1, **{std: 0.1}))
    assert posterior == pytest.approx(np.full((2, 4, 2000), 0.5))


def test_rgb_mode_is_a_copy_of_the_photo(crop):
    image = crf_image(crop, "rgb")
    assert np.array_equal(image, crop)
    assert not np.shares_memory(image, crop)


def test_reference_mode_is_bgr_minus_mean_truncated_and_wrapped():
    image_rgb = np.array([[[122, 116, 104], [121, 115, 103]], [[255, 0, 105], [0, 255, 0]]], np.uint8)
    # B - 104.008, G - 116.669, R - 122.675:
    #   -0.008 -0.669 -0.675    -1.008 -1.669 -1.675
    #    0.992 -116.669 132.325    -104.008 138.331 -122.675
    image = crf_image(image_rgb, "reference")
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.tolist() == [[[0, 0, 0], [255, 255, 255]], [[0, 140, 132], [152, 138, 134]]]


@pytest.mark.parametrize("image", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3))])
def test_rejects_anything_but_8_bit_rgb(image):
    with pytest.raises(ShapeError, match=r"image_rgb must be \(H, W, 3\) uint8, got"):
        dense_crf(image, np.ones((2, 2, 2)), CrfConfig())
    with pytest.raises(ShapeError, match=r"image_rgb must be \(H, W, 3\) uint8, got"):
        crf_image(image, "reference")


@pytest.mark.parametrize("shape", [(2, 3, 2), (0, 2, 3), (2, 3)])
def test_rejects_scores_of_a_different_size(shape):
    with pytest.raises(ShapeError, match=r"probs must be \(1 \+ K, 2, 3\), got"):
        dense_crf(grey_image(2, 3), np.ones(shape), CrfConfig())


def test_a_backend_without_its_package_is_refused(monkeypatch):
    monkeypatch.setitem(CRF_BACKENDS, "toy", NOT_INSTALLED)
    with pytest.raises(ConfigError, match=r"^crf\.backend=toy: the package no_such_module is not installed"):
        check_crf(DenseCrfConfig(backend="toy"), "crf")


def test_the_default_backend_needs_no_extra():
    assert CRF_BACKENDS[DenseCrfConfig().backend].extra is None
    check_crf(DenseCrfConfig(), "crf")


@pytest.mark.parametrize("mode", ["rgb", "reference"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_photos_of_several_sizes_have_the_posteriors_of_single_photos(crop, crop_probs, device, mode):
    photos = [(crop, crop_probs), (crop[:20], crop_probs[:2, :20]), (crop[:, ::-1], crop_probs), (crop, crop_probs[:1])]
    config = CrfConfig(backend="lattice")
    posteriors = finish(dense_crfs(*zip(*photos, strict=True), config, device, mode))
    assert len(posteriors) == len(photos)
    for posterior, (image, probs) in zip(posteriors, photos, strict=True):
        assert posterior == pytest.approx(dense_crf(image, probs, config, mode), abs=1e-4)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_photo_that_cannot_be_used_is_an_error_for_all_photos(device):
    images, probs = [grey_image(2, 3)] * 2, [np.full((2, 2, 3), 0.5), np.full((2, 2, 3), np.nan)]
    with pytest.raises(PhotoError, match=r"^the posterior of the CRF contains NaN or infinity") as caught:
        finish(dense_crfs(images, probs, CrfConfig(backend="lattice"), device))
    assert caught.value.kind is ErrorKind.NOT_FINITE
    with pytest.raises(ShapeError, match=r"probs must be \(1 \+ K, 2, 3\), got"):
        finish(dense_crfs(images, [probs[0], probs[0][:, 1:]], CrfConfig(backend="lattice"), device))


@pytest.mark.parametrize("mode", ["rgb", "reference"])
def test_masks_and_confidence_equal_the_published_program_on_real_photos(real_data, golden, mode, crf_config):
    check_masks_and_confidence(real_data, golden, mode, crf_config(), None)


@pytest.mark.slow
def test_masks_and_confidence_of_a_device_equal_the_published_program_on_real_photos(real_data, golden):
    check_masks_and_confidence(real_data, golden, "rgb", CrfConfig(backend="lattice"), "cpu", GOLDEN_IDS[::3])


def check_masks_and_confidence(real_data, golden, mode, config, device, image_ids=GOLDEN_IDS):
    for image_id in image_ids:
        image_rgb = np.asarray(Image.open(real_data / "JPEGImages" / f"{image_id}.jpg"))
        expected = np.load(golden / f"{image_id}.npz")
        cams = resize_cams(expected["refined_cam"], image_rgb.shape[:2]).astype(np.float16)

        probs = scores_with_background(cams.astype(np.float32), 1)
        (posterior,) = finish(dense_crfs([image_rgb], [probs], config, device, mode))

        mask = np.concatenate([[0], expected["class_ids"]])[posterior.argmax(axis=0)]
        confidence = np.rint(255 * posterior.max(axis=0))
        assert (mask == expected[f"mask_{mode}"]).mean() >= 0.999, image_id
        assert (np.abs(confidence - expected[f"confidence_{mode}"]) <= 2).mean() >= 0.999, image_id
