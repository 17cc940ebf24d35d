import threading
import tracemalloc

import numpy as np
import pytest
from support.crf_cases import blobs, random_image, random_scores, require, smooth_scores, voc_photo

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends.lattice.inference import infer
from clipes_core.crf_backends.lattice.mean_field import lanes_for
from clipes_core.dense_crf import dense_crf
from clipes_core.errors import ErrorKind, PhotoError

PHOTOS = ("2007_000063", "2007_000256", "2007_001420")
LABELS = (2, 3, 4, 5, 8, 21)


def posteriors(image, probs, mode="rgb", **settings):
    require("pydensecrf")
    return [
        dense_crf(image, probs, DenseCrfConfig(backend=backend, **settings), mode)
        for backend in ("lattice", "pydensecrf")
    ]


def assert_equal(own, oracle, tolerance, equal_levels=0.9999):
    """Check labels, posterior, and the confidence levels that clipes stores."""
    equal = own.argmax(axis=0) == oracle.argmax(axis=0)
    assert equal.mean() >= 0.9999
    assert np.abs(own - oracle).max() <= tolerance
    own_levels, oracle_levels = (np.rint(255 * each.max(axis=0)).astype(int) for each in (own, oracle))
    assert (own_levels == oracle_levels).mean() >= equal_levels
    assert np.abs(own_levels - oracle_levels).max() <= 1


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("image_id", PHOTOS)
def test_photos_have_the_labels_of_pydensecrf(real_data, image_id, labels):
    own, oracle = posteriors(voc_photo(real_data, image_id), blobs(real_data, image_id, labels))
    assert np.array_equal(own.argmax(axis=0), oracle.argmax(axis=0))
    assert_equal(own, oracle, tolerance=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"pos_xy_std": 3},
        {"pos_xy_std": 0.5},
        {"bi_xy_std": 5},
        {"bi_rgb_std": 13},
        {"bi_rgb_std": 0.7},
        {"bi_xy_std": 20, "bi_rgb_std": 8},
        {"bi_xy_std": 300, "bi_rgb_std": 60, "pos_xy_std": 1.5},
        {"pos_w": 0},
        {"bi_w": 0},
        {"pos_w": 30, "bi_w": 10},
        {"pos_w": 10_000, "bi_w": 10_000},
        {"iter_max": 1},
        {"iter_max": 30},
    ],
    ids=str,
)
def test_all_settings_mean_what_they_mean_to_pydensecrf(real_data, settings):
    own, oracle = posteriors(voc_photo(real_data, PHOTOS[1]), blobs(real_data, PHOTOS[1], 3), **settings)
    assert_equal(own, oracle, tolerance=2e-3)


@pytest.mark.parametrize("labels", [2, 5])
def test_the_image_of_the_published_program_has_the_labels_of_pydensecrf(real_data, labels):
    assert_equal(
        *posteriors(voc_photo(real_data, PHOTOS[0]), blobs(real_data, PHOTOS[0], labels), "reference"), tolerance=1e-3
    )


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (2, 2), (3, 5), (17, 19)], ids=str)
def test_small_images_have_the_labels_of_pydensecrf(size, labels):
    probs = random_scores(labels, *size)
    for image in (random_image(*size), np.zeros((*size, 3), np.uint8), np.full((*size, 3), [0, 128, 255], np.uint8)):
        assert_equal(*posteriors(image, probs), tolerance=1e-3)


@pytest.mark.parametrize("size", [(700, 40), (40, 700)], ids=str)
@pytest.mark.parametrize("labels", [2, 4, 21])
def test_long_images_have_the_labels_of_pydensecrf(size, labels):
    probs = smooth_scores(labels, *size)
    for image in (random_image(*size), np.full((*size, 3), 200, np.uint8)):
        assert_equal(*posteriors(image, probs), tolerance=5e-3, equal_levels=0.999)


@pytest.mark.parametrize("colour", [[0, 0, 0], [1, 0, 0], [4, 0, 0], [1, 0, 3], [0, 3, 0]], ids=str)
@pytest.mark.parametrize("size", [(94, 125), (1, 3), (33, 47), (32, 48)], ids=str)
def test_dark_images_equal_pydensecrf_for_any_number_of_pixels(size, colour):
    """The pixels with which pydensecrf completes its last group of four are black, and influence dark pixels."""
    own, oracle = posteriors(np.full((*size, 3), colour, np.uint8), random_scores(2, *size), pos_w=0, iter_max=1)
    assert np.abs(own - oracle).max() <= 5e-6


def test_noise_has_the_labels_of_pydensecrf(real_data):
    probs = blobs(real_data, PHOTOS[1], 3)
    assert_equal(*posteriors(random_image(*probs.shape[1:]), probs), tolerance=1e-3)


def test_255_labels_equal_pydensecrf():
    assert_equal(*posteriors(random_image(40, 50), random_scores(255, 40, 50)), tolerance=1e-3)


@pytest.mark.parametrize("labels", LABELS)
def test_equal_inputs_give_equal_bits_after_a_photo_of_another_size(labels):
    probs, image = random_scores(labels, 24, 31), random_image(24, 31)
    config = DenseCrfConfig(backend="lattice")
    before = dense_crf(image, probs, config)
    dense_crf(random_image(50, 47), random_scores(9, 50, 47), config)
    assert np.array_equal(dense_crf(image, probs, config), before)


def test_read_only_arrays_are_accepted():
    unary, image = np.zeros((2, 3, 4), np.float32), random_image(3, 4)
    expected = infer(unary, image, DenseCrfConfig())
    unary.flags.writeable = image.flags.writeable = False
    assert np.array_equal(infer(unary, image, DenseCrfConfig()), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_reported(value):
    unary = np.zeros((3, 2, 2), np.float32)
    unary[1, 1, 0] = value
    assert np.isnan(infer(unary, random_image(2, 2), DenseCrfConfig())).all()


def test_a_photo_too_large_for_its_standard_deviations_is_refused():
    probs, image = random_scores(2, 4, 2000), random_image(4, 2000)
    config = DenseCrfConfig(backend="lattice", bi_xy_std=0.1, bi_rgb_std=0.1)
    with pytest.raises(
        PhotoError, match=r"too large for the standard deviations of the CRF.*crf\.bi_rgb_std"
    ) as caught:
        dense_crf(image, probs, config)
    assert caught.value.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("labels", [2, 3, 5, 9, 21])
def test_memory_stays_within_the_documented_bound_even_for_noise(labels):
    """Measure in a thread of its own, which keeps no memory of earlier photos yet."""
    height, width = 150, 200
    unary, image = random_scores(labels, height, width).astype(np.float32), random_image(height, width)
    infer(unary[:, :2, :2].copy(), image[:2, :2].copy(), DenseCrfConfig())
    result_bytes, peaks = unary.nbytes, []

    def measure():
        tracemalloc.start()
        infer(unary, image, DenseCrfConfig())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    allowed = 620 + 28 * lanes_for(labels) + 12 * labels
    assert peaks[0] - result_bytes <= allowed * height * width + 2**20


@pytest.mark.parametrize("labels", [2, 3, 4, 5, 7, 9, 21])
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 2), (5, 5), (7, 9), (16, 33)])
def test_equal_scores_stay_equal(labels, size_hw):
    probs = np.full((labels, *size_hw), 0.5)
    for posterior in dense_crf(random_image(*size_hw), probs, DenseCrfConfig(backend="lattice")):
        assert posterior == pytest.approx(1 / labels, abs=1e-6)


@pytest.mark.parametrize("labels", [3, 4, 5, 7, 9, 21])
def test_labels_with_equal_scores_have_equal_posteriors(labels):
    scores = random_scores(2, 24, 31)
    probs = np.stack([scores[0], *[scores[1]] * (labels - 1)])
    posterior = dense_crf(random_image(24, 31), probs, DenseCrfConfig(backend="lattice"))
    assert (posterior[1:] == posterior[1]).all()
