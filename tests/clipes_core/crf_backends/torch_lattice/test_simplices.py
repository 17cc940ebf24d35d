import numpy as np
import pytest
import torch
from support.crf_cases import random_image

from clipes_core.crf_backends.lattice.geometry import axis_moves, key_strides, scale_factors
from clipes_core.crf_backends.lattice.simplices import colour_simplices, position_simplices
from clipes_core.crf_backends.torch_lattice.simplices import corners_at_zero, find_simplices, scaled_features


def by_rows(array):
    """Return an array of columns, (W, corners, H), as rows of pixels, (H * W, corners)."""
    return array.transpose(2, 0, 1).reshape(-1, array.shape[1])


def all_keys(first_keys, orders, moves):
    """Return (W, corners, H) keys of all corners."""
    keys = [first_keys]
    for k in range(len(moves) - 1):
        keys.append(keys[-1] + moves[(orders >> (3 * k)) & 7])
    return np.stack(keys, axis=1)


def assert_equal(found, first_keys, orders, weights, moves):
    keys, found_weights = (tensor.numpy() for tensor in found)
    assert np.array_equal(keys, by_rows(all_keys(first_keys, orders, moves)))
    assert np.array_equal(found_weights, by_rows(weights))


@pytest.mark.parametrize("std", [0.5, 1, 1.7, 3])
@pytest.mark.parametrize("size_hw", [(1, 1), (20, 33), (300, 2)], ids=str)
def test_positions_have_the_simplices_of_the_numba_kernels_to_the_bit(size_hw, std):
    height, width = size_hw
    stds, scales = (np.float32(std),) * 2, scale_factors(2)
    strides = key_strides((np.float32(width - 1) / stds[0], np.float32(height - 1) / stds[1]))
    moves = axis_moves(strides)
    first_keys, orders = np.empty((width, height), np.int64), np.empty((width, height), np.int32)
    weights = np.empty((width, 3, height), np.float32)
    position_simplices(stds[0], scales, strides, first_keys, orders, weights)

    x, y = map(torch.from_numpy, scaled_features((width, height), stds))
    features = [x.expand(height, width).flatten(), y[:, None].expand(height, width).flatten()]
    assert_equal(find_simplices(features, torch.from_numpy(moves)), first_keys, orders, weights, moves)


@pytest.mark.parametrize("rgb_std", [0.7, 3, 13, 60])
@pytest.mark.parametrize("image", [random_image(60, 50), random_image(60, 50) // 64 * 4], ids=["noise", "few colours"])
def test_colours_have_the_simplices_of_the_numba_kernels_to_the_bit(image, rgb_std):
    height, width, _ = image.shape
    stds, scales = (*(np.float32(67),) * 2, *(np.float32(rgb_std),) * 3), scale_factors(5)
    strides = key_strides(tuple(value / std for value, std in zip((width, height, 255, 255, 255), stds, strict=True)))
    moves = axis_moves(strides)
    first_keys, orders = np.empty((width, height), np.int64), np.empty((width, height), np.int32)
    weights = np.empty((width, 6, height), np.float32)
    columns = np.ascontiguousarray(image.transpose(1, 2, 0))
    colour_simplices(columns, stds[0], stds[2], scales, strides, first_keys, orders, weights)

    x, y, *tables = map(torch.from_numpy, scaled_features((width, height, 256, 256, 256), stds))
    colours = [table[image[..., colour].flatten().astype(int)] for colour, table in enumerate(tables)]
    features = [x.expand(height, width).flatten(), y[:, None].expand(height, width).flatten(), *colours]
    assert_equal(find_simplices(features, torch.from_numpy(moves)), first_keys, orders, weights, moves)


def test_a_pixel_whose_features_are_all_0_has_the_corners_at_zero():
    moves = torch.from_numpy(axis_moves(key_strides((np.float32(3), np.float32(4), np.float32(5)))))
    keys, weights = find_simplices([torch.zeros(1)] * 3, moves)
    assert torch.equal(keys[0], corners_at_zero(moves))
    assert weights.tolist() == [[1, 0, 0, 0]]
