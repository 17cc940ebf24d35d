import numpy as np
import pytest

from clipes_core.crf_backends.lattice.geometry import axis_moves, key_strides, scale_factors
from clipes_core.crf_backends.lattice.simplices import colour_simplices, position_simplices


def positions(width, height, std):
    """Return the keys, orders, weights and strides of all pixels of a photo."""
    keys, orders = np.empty((width, height), np.int64), np.empty((width, height), np.int32)
    weights = np.empty((width, 3, height), np.float32)
    strides = key_strides((np.float32((width - 1) / std), np.float32((height - 1) / std)))
    position_simplices(np.float32(std), scale_factors(2), strides, keys, orders, weights)
    return keys, orders, weights, strides


def vertex_keys(keys, orders, strides):
    """Return the keys of the vertices of each pixel, by following the moves."""
    moves = axis_moves(strides)
    found = [keys]
    for k in range(len(strides)):
        found.append(found[-1] + moves[(orders >> (3 * k)) & 7])
    return np.stack(found, axis=1)


def test_the_first_pixel_is_a_vertex():
    keys, _, weights, _ = positions(4, 5, 2)
    assert keys[0, 0] == 0
    assert weights[0, :, 0].tolist() == [1, 0, 0]


def test_weights_interpolate_the_position():
    """The weighted mean of the vertices' lattice coordinates is the pixel's position in the same coordinates."""
    width, height, std = 7, 9, 1.7
    keys, orders, weights, strides = positions(width, height, std)
    vertices = vertex_keys(keys, orders, strides)
    x, y = np.meshgrid(np.arange(width) / std, np.arange(height) / std, indexing="ij")
    c1, c2 = x * 3**0.5, y
    elevated = c2 + c1, c2 - c1, -2 * c2
    # key = sum of (coordinate 2 - coordinate j) / 3 * stride j
    expected = sum((elevated[2] - elevated[j]) / 3 * strides[j] for j in range(2))
    assert (weights * vertices).sum(axis=1) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("rgb_std", [0.7, 3, 60])
def test_weights_of_colours_are_barycentric(rgb_std):
    image = np.random.default_rng(0).integers(0, 256, (40, 3, 30), dtype=np.uint8)
    keys, orders = np.empty((40, 30), np.int64), np.empty((40, 30), np.int32)
    weights = np.empty((40, 6, 30), np.float32)
    strides = key_strides(tuple(np.float32(value) for value in (39 / 67, 29 / 67, *[255 / rgb_std] * 3)))

    colour_simplices(image, np.float32(67), np.float32(rgb_std), scale_factors(5), strides, keys, orders, weights)

    assert weights.min() >= -1e-4
    assert weights.sum(axis=1) == pytest.approx(np.ones((40, 30)), abs=1e-5)
    axes = np.stack([(orders >> (3 * place)) & 7 for place in range(6)])
    assert (np.sort(axes, axis=0) == np.arange(6)[:, None, None]).all()


def test_keys_are_unique():
    keys, orders, _, strides = positions(30, 20, 1.3)
    vertices = np.unique(vertex_keys(keys, orders, strides))
    # recover the lattice coordinates (n_0, n_1) from the keys; they must be as many pairs
    second = np.round(vertices / strides[1]).astype(int)
    pairs = {(int(key - n * strides[1]), int(n)) for key, n in zip(vertices, second, strict=True)}
    assert len(pairs) == len(vertices)
