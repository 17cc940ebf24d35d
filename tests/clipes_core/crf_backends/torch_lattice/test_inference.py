from importlib.util import find_spec

import numpy as np
import pytest
import torch
from support.crf_cases import blobs, random_image, random_scores, smooth_scores, voc_photo
from support.torch_calls import torch_calls

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.crf_backends.torch_lattice.inference import infer_batch
from clipes_core.dense_crf import crf_image
from clipes_core.errors import ErrorKind, PhotoError

pytestmark = pytest.mark.usefixtures("one_thread")  # threads that wait for each other are slow if the cores are busy

PHOTOS = ("2007_000063", "2007_000256", "2007_001420")
CROP = slice(80, 181), slice(120, 253)
OTHERS = [backend for name, backend in CRF_BACKENDS.items() if name != "pydensecrf" or find_spec(name) is not None]
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def infer(*arguments):
    return infer_batch(*arguments)()


def unary_of(probs):
    return -np.log(probs.astype(np.float32).clip(1e-5, 1))


def crops(voc, labels):
    """Return the unaries and the images of crops of three photos."""
    unaries = [unary_of(blobs(voc, image_id, labels)[:, *CROP]) for image_id in PHOTOS]
    return np.stack(unaries), np.stack([voc_photo(voc, image_id)[CROP] for image_id in PHOTOS])


def assert_equal(posteriors, unaries, images, config, tolerance=1e-3, equal_levels=0.9999):
    """Check labels, posteriors and the confidence levels that clipes stores against all other backends."""
    for backend in OTHERS:
        for own, unary, image in zip(posteriors, unaries, images, strict=True):
            other = backend.load()(unary, image, config)
            assert (own.argmax(axis=0) == other.argmax(axis=0)).mean() >= 0.9999
            assert np.abs(own - other).max() <= tolerance
            own_levels, levels = (np.rint(255 * each.max(axis=0)).astype(int) for each in (own, other))
            assert (own_levels == levels).mean() >= equal_levels
            assert np.abs(own_levels - levels).max() <= 1


@pytest.mark.parametrize("labels", [2, 3, 5, 8, 21])
def test_photos_have_the_posteriors_of_the_other_backends(real_data, labels):
    unaries, images = crops(real_data, labels)
    posteriors = infer(unaries, images, DenseCrfConfig(), "cpu")
    assert (posteriors.shape, posteriors.dtype) == (unaries.shape, np.float32)
    assert_equal(posteriors, unaries, images, DenseCrfConfig())


def test_a_whole_photo_has_the_posterior_of_the_other_backends(real_data):
    unaries, images = unary_of(blobs(real_data, PHOTOS[0], 3))[None], voc_photo(real_data, PHOTOS[0])[None]
    assert_equal(infer(unaries, images, DenseCrfConfig(), "cpu"), unaries, images, DenseCrfConfig())


@pytest.mark.parametrize(
    "settings",
    [
        {"pos_xy_std": 3},
        {"pos_xy_std": 0.5},
        {"bi_xy_std": 5, "bi_rgb_std": 13},
        {"bi_rgb_std": 0.7},
        {"bi_xy_std": 300, "bi_rgb_std": 60, "pos_xy_std": 1.5},
        {"pos_w": 0},
        {"bi_w": 0},
        {"pos_w": 0, "bi_w": 0},
        {"pos_w": 10_000, "bi_w": 10_000},
        {"iter_max": 1},
    ],
    ids=str,
)
def test_all_settings_mean_what_they_mean_to_the_other_backends(real_data, settings):
    unaries, images = crops(real_data, 3)
    config = DenseCrfConfig(**settings)
    assert_equal(infer(unaries, images, config, "cpu"), unaries, images, config, tolerance=2e-3)


def test_the_image_of_the_published_program_has_the_posterior_of_the_other_backends(real_data):
    unaries, images = crops(real_data, 2)
    images = np.stack([crf_image(image, "reference") for image in images])
    assert_equal(infer(unaries, images, DenseCrfConfig(), "cpu"), unaries, images, DenseCrfConfig())


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (9, 1), (3, 5), (17, 19), (7, 300)], ids=str)
@pytest.mark.parametrize("labels", [2, 5])
def test_noise_and_constant_images_of_any_size_have_the_posteriors_of_the_other_backends(size, labels):
    colours = np.array([[0, 0, 0], [1, 0, 0], [0, 128, 255]], np.uint8)
    images = np.stack([random_image(*size), *np.broadcast_to(colours[:, None, None], (3, *size, 3))])
    unaries = np.stack([unary_of(random_scores(labels, *size)), *[unary_of(smooth_scores(labels, *size))] * 3])
    posteriors = infer(unaries, images, DenseCrfConfig(), "cpu")
    assert_equal(posteriors, unaries, images, DenseCrfConfig(), equal_levels=0.999)


@pytest.mark.parametrize("labels", [2, 6])
def test_the_posterior_of_a_photo_does_not_depend_on_the_batch(real_data, labels):
    unaries, images = crops(real_data, labels)
    together, backwards = (infer(unaries[::step], images[::step], DenseCrfConfig(), "cpu") for step in (1, -1))
    assert np.array_equal(together, backwards[::-1])
    for photo, posterior in enumerate(together):
        one = slice(photo, photo + 1)
        assert np.array_equal(infer(unaries[one], images[one], DenseCrfConfig(), "cpu")[0], posterior)


def test_the_posterior_does_not_depend_on_the_number_of_threads(real_data):
    unaries, images = crops(real_data, 3)
    posteriors = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        posteriors.append(infer(unaries, images, DenseCrfConfig(iter_max=2), "cpu"))
    assert np.array_equal(*posteriors)


def test_photos_whose_keys_do_not_fit_into_64_bits_together_are_computed_in_parts():
    config = DenseCrfConfig(bi_xy_std=0.1, bi_rgb_std=0.1)  # at most 5 photos of this size share a lattice
    unaries = np.stack([unary_of(random_scores(2 + photo, 24, 31)[:2]) for photo in range(7)])
    images = np.stack([random_image(24, 31) // (photo + 1) for photo in range(7)])
    parts = [infer(unaries[part], images[part], config, "cpu") for part in (slice(0, 5), slice(5, 7))]
    assert np.array_equal(infer(unaries, images, config, "cpu"), np.concatenate(parts))
    assert_equal(np.concatenate(parts), unaries, images, config)


def test_photos_too_large_for_their_standard_deviations_are_refused():
    config = DenseCrfConfig(bi_xy_std=0.1, bi_rgb_std=0.1)
    with pytest.raises(PhotoError, match=r"too large for the standard deviations of the CRF") as caught:
        infer(np.zeros((1, 2, 4, 2000), np.float32), random_image(4, 2000)[None], config, "cpu")
    assert caught.value.kind is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_affects_its_own_photo_only(labels, value):
    unaries = np.stack([unary_of(random_scores(labels, 5, 7))] * 3)
    images = np.stack([random_image(5, 7)] * 3)
    expected = infer(unaries, images, DenseCrfConfig(), "cpu")[0]
    unaries[1, -1, 4, 6] = value

    first, second, third = infer(unaries, images, DenseCrfConfig(), "cpu")

    assert np.isnan(second).all()
    assert np.array_equal(first, expected)
    assert np.array_equal(third, expected)


def test_the_arguments_may_be_read_only_and_are_not_changed():
    unaries, images = unary_of(random_scores(3, 5, 7))[None], random_image(5, 7)[None]
    before = unaries.copy(), images.copy()
    unaries.flags.writeable = images.flags.writeable = False
    infer(unaries, images, DenseCrfConfig(), "cpu")
    assert np.array_equal(unaries, before[0])
    assert np.array_equal(images, before[1])


def test_the_number_of_operations_does_not_depend_on_the_number_of_photos():
    def count(batch):
        unaries, images = np.stack([unary_of(random_scores(3, 6, 9))] * batch), np.stack([random_image(6, 9)] * batch)
        return torch_calls(infer, unaries, images, DenseCrfConfig(iter_max=2), "cpu").count

    assert count(2) == count(7)


@pytest.mark.parametrize("labels", [2, 5, 6, 21])
def test_memory_stays_within_the_documented_bound_even_for_noise(labels):
    height, width = 40, 50
    unaries, images = np.stack([unary_of(random_scores(labels, height, width))] * 2), random_image(2 * height, width)
    images = images.reshape(2, height, width, 3)
    calls = torch_calls(infer, unaries, images, DenseCrfConfig(iter_max=1), "cpu")
    allowed = max(900 + 12 * labels, 440 + 96 * labels)
    assert calls.peak_bytes <= (allowed + 8 * labels) * 2 * height * width + 2**16


@with_gpu
@pytest.mark.parametrize("labels", [2, 5, 21])
def test_a_gpu_computes_the_posteriors_of_a_processor_and_the_same_bits_each_time(real_data, labels):
    unaries, images = crops(real_data, labels)
    on_gpu, again = (infer(unaries, images, DenseCrfConfig(), "cuda") for _ in range(2))
    assert np.array_equal(on_gpu, again)
    alone = infer(unaries[1:2], images[1:2], DenseCrfConfig(), "cuda")
    assert np.array_equal(alone[0], on_gpu[1])
    assert_equal(on_gpu, unaries, images, DenseCrfConfig())
