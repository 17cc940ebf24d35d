import numpy as np
import pytest

from clipes_core.crf_backends.lattice.filters import blur, channel_type, slice_onto, splat
from clipes_core.crf_backends.lattice.mean_field import _softmax, lanes_for

WIDTH, HEIGHT, VERTICES, COUNT = 3, 4, 6, 9


@pytest.fixture(params=[1, 2, 4, 8])
def lanes(request):
    return request.param


@pytest.fixture
def numbers():
    return np.random.default_rng(0).integers(1, COUNT, (WIDTH, VERTICES, HEIGHT), dtype=np.uint32)


@pytest.fixture
def weights():
    return np.random.default_rng(1).random((WIDTH, VERTICES, HEIGHT), dtype=np.float32)


def elements(array):
    """Return a (n, lanes) array as n elements."""
    return array.view(channel_type(array.shape[1])).ravel()


def test_splat_adds_each_pixel_to_its_vertices(lanes, numbers, weights):
    pixels = np.random.default_rng(2).random((WIDTH * HEIGHT, lanes), dtype=np.float32)
    values = np.full((COUNT, lanes), 5, np.float32)
    splat(numbers, weights, elements(pixels), elements(values))

    expected = np.zeros_like(values)
    for x, k, y in np.ndindex(numbers.shape):
        expected[numbers[x, k, y]] += weights[x, k, y] * pixels[x * HEIGHT + y]
    assert values == pytest.approx(expected, rel=1e-5)


def test_slice_adds_the_vertices_of_each_pixel(lanes, numbers, weights):
    values = np.random.default_rng(3).random((COUNT, lanes), dtype=np.float32)
    ones = np.ones((WIDTH * HEIGHT, lanes), np.float32)
    pixels = np.empty_like(ones)
    slice_onto(numbers, weights, elements(values), elements(ones), elements(pixels))

    sums = (weights[..., None] * values[numbers]).sum(axis=1).reshape(-1, lanes)
    assert pixels == pytest.approx(1 + sums, rel=1e-5)


def test_blur_adds_half_of_the_neighbours_axis_after_axis(lanes):
    values = np.outer(np.arange(8), np.ones(lanes)).astype(np.float32)  # vertex n has value n
    # axis 0 has the chains 1-2 and 3-4-5-6, axis 1 has 2-3-7
    vertices = np.array([1, 2, 3, 4, 5, 6, 2, 3, 7], np.uint32)
    blur(elements(values), vertices, np.array([[2, 1], [4, 1], [3, 1]]))
    # after axis 0: 2, 2.5, 5, 8, 10, 8.5, and 7 unchanged; then 2.5 + 5 / 2, 5 + (2.5 + 7) / 2, 7 + 5 / 2
    assert values[:, 0].tolist() == [0, 2, 5, 9.75, 8, 10, 8.5, 9.5]
    assert (values == values[:, :1]).all()


@pytest.mark.parametrize("labels", [2, 3, 4, 5, 6, 9, 10, 21, 255])
@pytest.mark.parametrize("scale", [0.1, 3, 80])
@pytest.mark.parametrize("subtract", [0, 1])
def test_softmax_equals_its_definition(labels, scale, subtract):
    lanes = lanes_for(labels)
    pixels, groups = 700, -(-(labels - 1) // lanes)
    logits = np.full((groups, pixels, lanes), -1e30, np.float32)
    given = np.random.default_rng(labels).normal(0, scale, (labels - 1, pixels)).astype(np.float32).astype(float)
    for channel in range(labels - 1):
        logits[channel // lanes, :, channel % lanes] = given[channel]
    element = channel_type(lanes)
    probs = np.empty_like(logits)
    first = np.empty(pixels, np.float32)

    _softmax(logits.view(element)[..., 0], subtract, probs.view(element)[..., 0], first)

    with_first = np.concatenate([np.zeros((1, pixels)), given])
    exact = np.exp(with_first - with_first.max(axis=0))
    exact /= exact.sum(axis=0)
    found = probs.transpose(0, 2, 1).reshape(-1, pixels)[: labels - 1]
    assert first == pytest.approx(exact[0], abs=5e-7)
    assert found == pytest.approx(exact[1:] - subtract * exact[0], abs=5e-7)


@pytest.mark.parametrize(
    ("labels", "lanes"), [(2, 1), (3, 2), (4, 4), (5, 4), (6, 8), (9, 8), (10, 4), (21, 4), (255, 8)]
)
def test_few_lanes_have_no_label(labels, lanes):
    assert lanes_for(labels) == lanes
    assert -(labels - 1) % lanes <= 3
