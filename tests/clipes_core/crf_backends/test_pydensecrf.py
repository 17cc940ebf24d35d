import math

import numpy as np
import pytest

from clipes_core.config.crf import DenseCrfConfig

pytest.importorskip("pydensecrf")
from clipes_core.crf_backends.pydensecrf import infer

WITHOUT_KERNELS = DenseCrfConfig(pos_w=0, bi_w=0)


def unary_of(probs):
    return -np.log(np.asarray(probs, np.float32))


def test_a_lone_pixel_gets_its_own_message_through_both_kernels():
    config = DenseCrfConfig(pos_w=1, bi_w=2, iter_max=1)
    posterior = infer(unary_of([0.75, 0.25]).reshape(2, 1, 1), np.zeros((1, 1, 3), np.uint8), config)
    # one step of mean field: p e^(3 p), normalised
    first, second = 0.75 * math.exp(3 * 0.75), 0.25 * math.exp(3 * 0.25)
    assert posterior.ravel() == pytest.approx([first / (first + second), second / (first + second)], abs=1e-4)


def test_pixels_keep_their_positions():
    probs = np.random.default_rng(0).dirichlet(np.ones(3), (2, 5)).transpose(2, 0, 1)
    posterior = infer(np.ascontiguousarray(unary_of(probs)), np.zeros((2, 5, 3), np.uint8), WITHOUT_KERNELS)
    assert posterior.dtype == np.float32
    np.testing.assert_allclose(posterior, probs, rtol=1e-5)


def test_colours_match_their_pixels_in_a_photo_that_is_not_square():
    image = np.zeros((4, 9, 3), np.uint8)
    image[:, 5:] = 255
    probs = np.full((2, 4, 9), 0.1)
    probs[0, :, :5] = probs[1, :, 5:] = 0.9
    probs[:, 2, 3], probs[:, 1, 6] = (0.4, 0.6), (0.6, 0.4)

    labels = infer(unary_of(probs), image, DenseCrfConfig()).argmax(axis=0)

    assert np.array_equal(labels, (image[..., 0] == 255).astype(int))


def test_a_read_only_image_is_refused():
    image = np.zeros((1, 2, 3), np.uint8)
    image.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        infer(unary_of(np.full((2, 1, 2), 0.5)), image, DenseCrfConfig())
