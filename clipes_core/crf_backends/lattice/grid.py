"""The Gaussian kernel of standard deviation 1 px, whose lattice is a regular grid.

The vertices of this lattice form columns at x = c sqrt(3) / 2. Columns of even c have vertices at y = 0 .. H - 1, those
of odd c at y = -1/2 .. H - 1/2. Column 0 has one vertex more, at y = H: a pixel with x = 0 lies on an edge between two
simplices, and the lattice chooses the one with the vertices y and y + 1 of column 0.

A pixel lies between the columns floor(u) and floor(u) + 1, with u = x / (sqrt(3) / 2). Let t be its distance from the
even one of them. Its weights are 1 - t for the vertex of the even column, and t / 2 for each of the two vertices of the
odd one. The blur goes along the axes (1 column, 1/2 px), (1 column, -1/2 px) and (0 columns, 1 px).

In the arrays of this module, a column of vertices has H + 3 rows of `lanes` channels. Row 0 and the last rows without a
vertex are 0. Row i + 1 of an even column holds y = i; row i + 1 of an odd column holds y = i - 1/2.
"""

import math

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel

SPACING = math.sqrt(3) / 2


def grid_shape(width: int, height: int, lanes: int) -> tuple[int, int]:
    """Return the shape of the array of vertices: the columns, then rows times lanes."""
    return int((width - 1) / SPACING) + 2, (height + 3) * lanes


@kernel
def filter_on_grid(channels, weights, lanes, vertices, blurred, result):
    """Add the filtered channels to the result.

    Args:
        channels: (W, H * lanes) float32.
        weights: (W, H * lanes) float32; multiply the channels before and after the filter.
        lanes: number of channels of each pixel.
        vertices: float32 array of `grid_shape`, scratch.
        blurred: float32 array of `grid_shape`, scratch; 0 in row 0 and in the rows without a vertex.
        result: (W, H * lanes) float32; the filtered channels are added.
    """
    width, size = channels.shape
    columns = len(vertices)
    half = np.float32(0.5)
    vertices[:] = 0
    for x in range(width):
        left, even, odd, near, far = _around(x)
        for i in range(size):
            part = weights[x, i] * channels[x, i]
            vertices[even, lanes + i] += near * part
            vertices[odd, lanes + i] += far * part
        for i in range(size):
            vertices[odd, 2 * lanes + i] += far * weights[x, i] * channels[x, i]
    nothing = np.zeros(vertices.shape[1], np.float32)
    _blur_diagonally(vertices, lanes, size, 0, nothing, blurred)
    _blur_diagonally(blurred, lanes, size, lanes, nothing, vertices)
    for column in range(columns):
        _blur_vertically(vertices[column], lanes, _rows(column, lanes, size), blurred[column])
    for x in range(width):
        left, even, odd, near, far = _around(x)
        for i in range(size):
            across = blurred[odd, lanes + i] + blurred[odd, 2 * lanes + i]
            result[x, i] += weights[x, i] * (near * blurred[even, lanes + i] + far * across)


@kernel
def _around(x):
    """Return the columns around a pixel (left, even, odd), and the weights of a vertex of the even and the odd one."""
    u = x / SPACING
    left = np.int64(u)
    odd_left = left & 1
    distance = left + 1 - u if odd_left else u - left
    return left, left + odd_left, left + 1 - odd_left, np.float32(1 - distance), np.float32(distance / 2)


@kernel
def _rows(column, lanes, size):
    """Return the number of rows of a column that have a vertex, times lanes."""
    return size + lanes if column == 0 or column & 1 else size


@kernel
def _blur_diagonally(vertices, lanes, size, up, nothing, blurred):
    """Blur along the axis (1 column, 1/2 px) if `up` is 0, or along (1 column, -1/2 px) if `up` is `lanes`."""
    columns = len(vertices)
    half = np.float32(0.5)
    for column in range(columns):
        here, out = vertices[column], blurred[column]
        before = vertices[column - 1] if column > 0 else nothing
        after = vertices[column + 1] if column + 1 < columns else nothing
        # the row of the neighbours: y + 1/2 is one row further from an even column, and the same row from an odd one
        odd = column & 1
        after_start = lanes - up if odd else 2 * lanes - up
        before_start = up if odd else lanes + up
        for i in range(_rows(column, lanes, size)):
            out[lanes + i] = here[lanes + i] + half * (after[after_start + i] + before[before_start + i])


@kernel
def _blur_vertically(column, lanes, rows, blurred):
    half = np.float32(0.5)
    for i in range(rows):
        blurred[lanes + i] = column[lanes + i] + half * (column[i] + column[2 * lanes + i])
