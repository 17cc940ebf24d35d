"""The two kernels of the dense CRF. Each filters the channels of all pixels with Gaussian weights.

A filtered channel is n_i sum_j k_ij n_j channel_j, where k is a Gaussian and n_i is 1 / sqrt(sum_j k_ij), the symmetric
normalisation. The sum over all pixels is computed on a lattice: `splat` distributes the pixels to the vertices around
them, `blur` spreads the values of the vertices, and `slice_onto` interpolates them at the pixels. The weights between a
pixel and its vertices include n_i and the square root of the kernel's weight in the energy.

Source: Krähenbühl and Koltun 2011, sec. 4; Adams, Baek and Davis 2010.
"""

from typing import Protocol

import numpy as np

from clipes_core.crf_backends.lattice.chains import find_chains
from clipes_core.crf_backends.lattice.filters import blur, slice_onto, splat
from clipes_core.crf_backends.lattice.geometry import axis_moves, key_strides, scale_factors
from clipes_core.crf_backends.lattice.grid import filter_on_grid
from clipes_core.crf_backends.lattice.layout import image_columns
from clipes_core.crf_backends.lattice.scratch import scratch
from clipes_core.crf_backends.lattice.simplices import colour_simplices, position_simplices
from clipes_core.crf_backends.lattice.vertices import number_vertices

TINY = 1e-20  # keeps the norm of a pixel finite
WIDEST_GRID = 3600  # [px]; from x = 3689 on, the lattice rounds a few pixels into columns that `grid` does not expect


class GaussianKernel(Protocol):
    """A kernel of the CRF."""

    def filter(self, channels: np.ndarray, base: np.ndarray, result: np.ndarray) -> None:
        """Write the sum of the base and the filtered channels, each (W * H,) elements. The base may be the result."""


class GridKernel:
    """The Gaussian kernel of standard deviation 1 px.

    Args:
        width: width of the photo [px].
        height: height of the photo [px].
        lanes: number of channels of an element.
        weight: weight of the kernel.
    """

    def __init__(self, width: int, height: int, lanes: int, weight: float) -> None:
        self._lanes, self._scale = lanes, scale_factors(2)[0]
        ones, zeros = np.ones((width, height), np.float32), np.zeros((width, height), np.float32)
        norm = np.empty_like(ones)
        filter_on_grid(ones, 1, self._scale, ones, zeros, norm)
        self._weights = np.repeat(np.sqrt(weight / (norm + TINY), dtype=np.float32), lanes, axis=1)

    def filter(self, channels: np.ndarray, base: np.ndarray, result: np.ndarray) -> None:
        """Write the sum of the base and the filtered channels, each (W * H,) elements. The base may be the result."""
        shape = self._weights.shape
        columns = (each.view(np.float32).reshape(shape) for each in (channels, base, result))
        filter_on_grid(self._weights, self._lanes, self._scale, *columns)


class LatticeKernel:
    """A Gaussian kernel on the permutohedral lattice.

    Args:
        first_keys: (W, H) int64, the key of the vertex X of each pixel's simplex.
        orders: (W, H) int32, the axes in the order of the moves from X.
        weights: (W, d + 1, H) float32 weights of the vertices; the kernel changes them, and keeps them.
        strides: (d,) int64 strides of the keys.
        weight: weight of the kernel.
    """

    def __init__(
        self, first_keys: np.ndarray, orders: np.ndarray, weights: np.ndarray, strides: np.ndarray, weight: float
    ) -> None:
        moves = axis_moves(strides)
        self._numbers, keys, table = number_vertices(first_keys, orders, moves)
        self._count, self._weights = len(keys), weights
        self._chains = find_chains(self._numbers, orders, keys, table, moves)
        width, _, height = weights.shape
        ones, norm = scratch("ones", width * height, np.float32), scratch("norm", width * height, np.float32)
        ones[:], norm[:] = 1, 0
        self.filter(ones, norm, norm)
        weights *= np.sqrt(weight / (norm + TINY), dtype=np.float32).reshape(width, 1, height)

    def filter(self, channels: np.ndarray, base: np.ndarray, result: np.ndarray) -> None:
        """Write the sum of the base and the filtered channels, each (W * H,) elements. The base may be the result."""
        values = scratch("values", self._count, channels.dtype)
        splat(self._numbers, self._weights, channels, values)
        blur(values, self._chains.vertices, self._chains.runs)
        slice_onto(self._numbers, self._weights, values, base, result)


def position_kernel(width: int, height: int, lanes: int, xy_std: float, weight: float) -> GaussianKernel:
    """Return the kernel that compares the positions of pixels.

    Args:
        width: width of the photo [px].
        height: height of the photo [px].
        lanes: number of channels of an element.
        xy_std: standard deviation [px].
        weight: weight of the kernel.

    Raises:
        PhotoError: TOO_LARGE if the lattice has too many cells.
    """
    if xy_std == 1 and 1 < width <= WIDEST_GRID:  # a single column has other vertices than `grid` describes
        return GridKernel(width, height, lanes, weight)
    return position_lattice(width, height, xy_std, weight)


def position_lattice(width: int, height: int, xy_std: float, weight: float) -> LatticeKernel:
    """Return the kernel that compares the positions of pixels, on a lattice. The arguments are as before."""
    std = np.float32(xy_std)
    strides = key_strides(((width - 1) / std, (height - 1) / std))
    first_keys, orders, weights = _simplex_arrays(width, height, 3)
    position_simplices(std, scale_factors(2), strides, first_keys, orders, weights)
    return LatticeKernel(first_keys, orders, weights, strides, weight)


def bilateral_kernel(image: np.ndarray, xy_std: float, rgb_std: float, weight: float) -> LatticeKernel:
    """Return the kernel that compares positions and colours.

    Args:
        image: (H, W, 3) uint8.
        xy_std: standard deviation of the position [px].
        rgb_std: standard deviation of the colours.
        weight: weight of the kernel.

    Raises:
        PhotoError: TOO_LARGE if the lattice has too many cells.
    """
    height, width, _ = image.shape
    stds = np.float32(xy_std), np.float32(rgb_std)
    strides = key_strides(((width - 1) / stds[0], (height - 1) / stds[0], *[255 / stds[1]] * 3))
    columns = scratch("image", (width, 3, height), np.uint8)
    image_columns(image, columns)
    first_keys, orders, weights = _simplex_arrays(width, height, 6)
    colour_simplices(columns, *stds, scale_factors(5), strides, first_keys, orders, weights)
    return LatticeKernel(first_keys, orders, weights, strides, weight)


def _simplex_arrays(width: int, height: int, vertices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        scratch("first keys", (width, height), np.int64),
        scratch("orders", (width, height), np.int32),
        scratch(f"weights {vertices}", (width, vertices, height), np.float32),
    )
