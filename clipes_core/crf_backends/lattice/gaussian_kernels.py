"""The kernels of the dense CRF: each filters the channels of all pixels."""

import numpy as np
from clipes_core.crf_backends.lattice.filters import add_slice, blur, channel_type, splat
from clipes_core.crf_backends.lattice.grid import filter_on_grid, grid_shape
from clipes_core.crf_backends.lattice.layout import image_columns
from clipes_core.crf_backends.lattice.neighbours import find_neighbours
from clipes_core.crf_backends.lattice.simplices import (
    axis_moves, colour_simplices, key_strides, position_simplices, scale_factors)
from clipes_core.crf_backends.lattice.vertices import number_vertices

TINY = 1e-20


class GridKernel:
    def __init__(self, width, height, weight):
        self._size = width, height
        ones = np.ones((width, height), np.float32)
        norm = np.zeros_like(ones)
        self._weights = ones
        self._add(ones, norm, 1)
        self._weights = np.sqrt(weight / (norm + TINY)).astype(np.float32)

    def add_filtered(self, channels, result):
        lanes = channels.itemsize // 4
        width, height = self._size
        flat = (width, height * lanes)
        self._add(channels.view(np.float32).reshape(flat), result.view(np.float32).reshape(flat), lanes)

    def _add(self, channels, result, lanes):
        if self._weights.shape != channels.shape:
            self._weights = np.repeat(self._weights, lanes, axis=1)
        vertices, blurred = np.empty(grid_shape(*self._size, lanes), np.float32), np.zeros(grid_shape(*self._size, lanes), np.float32)
        filter_on_grid(channels, self._weights, lanes, vertices, blurred, result)


class LatticeKernel:
    def __init__(self, numbers, weights, following, preceding, weight):
        self._numbers, self._weights = numbers, weights
        self._following, self._preceding = following, preceding
        width, vertices, height = numbers.shape
        ones = np.ones(width * height, np.float32)
        norm = np.zeros_like(ones)
        self.add_filtered(ones, norm)
        factor = np.sqrt(weight / (norm + TINY)).astype(np.float32)
        self._weights *= factor.reshape(width, 1, height)

    def add_filtered(self, channels, result):
        count = self._following.shape[1]
        values, blurred = np.empty(count, channels.dtype), np.empty(count, channels.dtype)
        splat(self._numbers, self._weights, channels, values)
        for following, preceding in zip(self._following, self._preceding, strict=True):
            blur(values, following, preceding, blurred)
            values, blurred = blurred, values
        add_slice(self._numbers, self._weights, values, result)


def position_kernel(width, height, xy_std, weight, grid=True):
    if grid and xy_std == 1 and width > 1:
        return GridKernel(width, height, weight)
    keys, orders, weights = _simplex_arrays(width, height, 2)
    std = np.float32(xy_std)
    strides = key_strides(((width - 1) / std, (height - 1) / std))
    position_simplices(std, scale_factors(2), strides, keys, orders, weights)
    return _lattice(keys, orders, weights, strides, weight)


def bilateral_kernel(image, xy_std, rgb_std, weight):
    height, width, _ = image.shape
    columns = np.empty((width, 3, height), np.uint8)
    image_columns(image, columns)
    keys, orders, weights = _simplex_arrays(width, height, 5)
    std, rgb_std = np.float32(xy_std), np.float32(rgb_std)
    colours = [int(columns[:, c].max()) / rgb_std for c in range(3)]
    strides = key_strides(((width - 1) / std, (height - 1) / std, *colours))
    colour_simplices(columns, std, rgb_std, scale_factors(5), strides, keys, orders, weights)
    return _lattice(keys, orders, weights, strides, weight)


def _simplex_arrays(width, height, dimensions):
    return (np.empty((width, height), np.int64), np.empty((width, height), np.int32),
            np.empty((width, dimensions + 1, height), np.float32))


def _lattice(first_keys, orders, weights, strides, weight):
    moves = axis_moves(strides)
    numbers, keys, table = number_vertices(first_keys, orders, moves)
    following, preceding = find_neighbours(numbers, orders, keys, table, moves)
    return LatticeKernel(numbers, weights, following, preceding, weight)
