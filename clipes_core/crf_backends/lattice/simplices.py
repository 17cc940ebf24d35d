"""Find the simplex of the lattice that surrounds each pixel, and the pixel's barycentric weights.

The lattice in d dimensions lies in the plane of the points of d + 1 coordinates with sum 0. `elevate` maps the features
of a pixel into this plane: with c_j = feature_j * scale_j, coordinate j is c_(j+1) + ... + c_d - j c_j.

Let R_j be coordinate j divided by d + 1 and rounded, and let r_j be the remainder. If one starts at the vertex
X = (d + 1) R - sum(R) and moves along the axes in ascending order of their remainders, each move adds d + 1 times the
negative unit vector of the axis plus the vector of ones. The moves visit all vertices of the simplex, and the last move
returns to X. The weights are the gaps between consecutive remainders, divided by d + 1; the gap across the end, which
is d + 1 - (largest - smallest remainder), belongs to X.

A vertex has the lattice coordinates n_j = R_d - R_j at X. A move along axis j < d adds 1 to n_j; a move along axis d
subtracts 1 from each. The key of a vertex is the sum of n_j * stride_j, one 64-bit integer.

A pixel on the border between simplices belongs to several of them. Which one it gets decides which vertices exist, and
thus what the blur can pass on. The order of operations and the rule for equal remainders (the higher index comes first
in ascending order) are therefore those of the paper. Each operation is rounded to float32 without merging.

Source: Adams, Baek and Davis 2010, "Fast high-dimensional filtering using the permutohedral lattice", sec. 3.
"""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import exact_kernel

ROUNDER = np.float32(1.5 * 2**23)  # adding and subtracting it rounds a float32 to an integer


@exact_kernel
def colour_simplices(
    image: np.ndarray,
    xy_std: np.float32,
    rgb_std: np.float32,
    scales: np.ndarray,
    strides: np.ndarray,
    keys: np.ndarray,
    orders: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Find the simplex of each pixel in the 5 dimensions x, y, and the three colours.

    Args:
        image: (W, 3, H) uint8.
        xy_std: float32 standard deviation of the position [px].
        rgb_std: float32 standard deviation of the colours.
        scales: (5,) float32 from `scale_factors`.
        strides: (5,) int64 from `key_strides`.
        keys: (W, H) int64; receives the key of the vertex X.
        orders: (W, H) int32; receives the axes in ascending order of their remainders, 3 bits each.
        weights: (W, 6, H) float32; receives the weights of X and of the next vertices.
    """
    for x in range(len(image)):
        c1 = np.float32(x) / xy_std * scales[0]
        _colour_column(c1, image[x], xy_std, rgb_std, scales, strides, keys[x], orders[x], weights[x])


@exact_kernel
def _colour_column(
    c1: np.float32,
    image: np.ndarray,
    xy_std: np.float32,
    rgb_std: np.float32,
    scales: np.ndarray,
    strides: np.ndarray,
    keys: np.ndarray,
    orders: np.ndarray,
    weights: np.ndarray,
) -> None:
    sixth, six, one = np.float32(1) / np.float32(6), np.float32(6), np.float32(1)
    scale_y, scale_0, scale_1, scale_2 = scales[1], scales[2], scales[3], scales[4]
    stride_0, stride_1, stride_2, stride_3, stride_4 = strides[0], strides[1], strides[2], strides[3], strides[4]
    for y in range(len(keys)):
        c2 = np.float32(np.int32(y)) / xy_std * scale_y
        c3 = np.float32(image[0, y]) / rgb_std * scale_0
        c4 = np.float32(image[1, y]) / rgb_std * scale_1
        c5 = np.float32(image[2, y]) / rgb_std * scale_2
        e5 = np.float32(-5) * c5
        e4 = c5 - np.float32(4) * c4
        above = c5 + c4
        e3 = above - np.float32(3) * c3
        above = above + c3
        e2 = above - np.float32(2) * c2
        above = above + c2
        e1 = above - c1
        e0 = above + c1
        r0 = (e0 * sixth + ROUNDER) - ROUNDER
        r1 = (e1 * sixth + ROUNDER) - ROUNDER
        r2 = (e2 * sixth + ROUNDER) - ROUNDER
        r3 = (e3 * sixth + ROUNDER) - ROUNDER
        r4 = (e4 * sixth + ROUNDER) - ROUNDER
        r5 = (e5 * sixth + ROUNDER) - ROUNDER
        last = np.int32(r5)
        keys[y] = (
            (last - np.int32(r0)) * stride_0
            + (last - np.int32(r1)) * stride_1
            + (last - np.int32(r2)) * stride_2
            + (last - np.int32(r3)) * stride_3
            + (last - np.int32(r4)) * stride_4
        )
        e0 -= r0 * six
        e1 -= r1 * six
        e2 -= r2 * six
        e3 -= r3 * six
        e4 -= r4 * six
        e5 -= r5 * six
        p01, p02, p03, p04, p05 = _before(e0, e1), _before(e0, e2), _before(e0, e3), _before(e0, e4), _before(e0, e5)
        p12, p13, p14, p15 = _before(e1, e2), _before(e1, e3), _before(e1, e4), _before(e1, e5)
        p23, p24, p25 = _before(e2, e3), _before(e2, e4), _before(e2, e5)
        p34, p35, p45 = _before(e3, e4), _before(e3, e5), _before(e4, e5)
        orders[y] = (
            _at(1, 1 - p01 + p12 + p13 + p14 + p15)
            | _at(2, 2 - p02 - p12 + p23 + p24 + p25)
            | _at(3, 3 - p03 - p13 - p23 + p34 + p35)
            | _at(4, 4 - p04 - p14 - p24 - p34 + p45)
            | _at(5, 5 - p05 - p15 - p25 - p35 - p45)
        )
        # sort the remainders with a network of 12 comparisons
        e0, e5 = min(e0, e5), max(e0, e5)
        e1, e3 = min(e1, e3), max(e1, e3)
        e2, e4 = min(e2, e4), max(e2, e4)
        e1, e2 = min(e1, e2), max(e1, e2)
        e3, e4 = min(e3, e4), max(e3, e4)
        e0, e3 = min(e0, e3), max(e0, e3)
        e2, e5 = min(e2, e5), max(e2, e5)
        e0, e1 = min(e0, e1), max(e0, e1)
        e2, e3 = min(e2, e3), max(e2, e3)
        e4, e5 = min(e4, e5), max(e4, e5)
        e1, e2 = min(e1, e2), max(e1, e2)
        e3, e4 = min(e3, e4), max(e3, e4)
        weights[0, y] = (e0 - e5) * sixth + one
        weights[1, y] = (e1 - e0) * sixth
        weights[2, y] = (e2 - e1) * sixth
        weights[3, y] = (e3 - e2) * sixth
        weights[4, y] = (e4 - e3) * sixth
        weights[5, y] = (e5 - e4) * sixth


@exact_kernel
def position_simplices(
    xy_std: np.float32,
    scales: np.ndarray,
    strides: np.ndarray,
    keys: np.ndarray,
    orders: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Find the simplex of each pixel in the 2 dimensions x and y. The arguments are those of `colour_simplices`."""
    third, three, one = np.float32(1) / np.float32(3), np.float32(3), np.float32(1)
    width, _, height = weights.shape
    for x in range(width):
        c1 = np.float32(x) / xy_std * scales[0]
        for y in range(height):
            c2 = np.float32(np.int32(y)) / xy_std * scales[1]
            e2 = np.float32(-2) * c2
            e1 = c2 - c1
            e0 = c2 + c1
            r0 = (e0 * third + ROUNDER) - ROUNDER
            r1 = (e1 * third + ROUNDER) - ROUNDER
            r2 = (e2 * third + ROUNDER) - ROUNDER
            last = np.int32(r2)
            keys[x, y] = (last - np.int32(r0)) * strides[0] + (last - np.int32(r1)) * strides[1]
            e0 -= r0 * three
            e1 -= r1 * three
            e2 -= r2 * three
            p01, p02, p12 = _before(e0, e1), _before(e0, e2), _before(e1, e2)
            orders[x, y] = _at(1, 1 - p01 + p12) | _at(2, 2 - p02 - p12)
            e0, e2 = min(e0, e2), max(e0, e2)
            e0, e1 = min(e0, e1), max(e0, e1)
            e1, e2 = min(e1, e2), max(e1, e2)
            weights[x, 0, y] = (e0 - e2) * third + one
            weights[x, 1, y] = (e1 - e0) * third
            weights[x, 2, y] = (e2 - e1) * third


@exact_kernel
def _before(lower: np.float32, higher: np.float32) -> np.int32:
    """Return 1 if the axis of the higher index comes before the other in ascending order of their remainders, or 0."""
    return np.int32(lower >= higher)


@exact_kernel
def _at(axis: int, place: int | np.int32) -> np.int32:
    """Return an axis as 3 bits at a place of the order."""
    return np.int32(axis) << np.int32(3 * place)
