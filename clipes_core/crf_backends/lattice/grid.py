"""The Gaussian kernel of standard deviation 1 px, whose lattice is a regular grid.

The vertices of this lattice form columns at x = c sqrt(3) / 2. Columns of even c have vertices at y = 0 .. H - 1, those
of odd c at y = -1/2 .. H - 1/2. Column 0 has one vertex more, at y = H: a pixel with x = 0 lies on an edge between two
simplices, and the lattice chooses the one with the vertices y and y + 1 of column 0.

A pixel lies between the columns floor(u) and floor(u) + 1, with u = x / (sqrt(3) / 2). Let t be its distance from the
even one of them. Its weights are 1 - t for the vertex of the even column, and t / 2 for each of the two vertices of the
odd one. The blur goes along the axes (1 column, 1/2 px), (1 column, -1/2 px) and (0 columns, 1 px).

The lattice gets t from y + sqrt(3) x and from y - sqrt(3) x, which it rounds to float32. `_weight` rounds them as well.
Without this rounding, weights would differ by up to 3e-5 from those of pydensecrf, and ten iterations would multiply
the difference.

In the arrays of this module, a column of vertices has H + 3 rows of `lanes` channels. Row 0 and the last rows without a
vertex are 0. Row i + 1 of an even column holds y = i; row i + 1 of an odd column holds y = i - 1/2.
"""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import exact_kernel, kernel

RING = 4  # columns of vertices that one step of the sweep needs


@kernel
def filter_on_grid(
    weights: np.ndarray, lanes: int, scale: np.float32, channels: np.ndarray, base: np.ndarray, result: np.ndarray
) -> None:
    """Write the sum of the base and the filtered channels.

    One sweep over the columns of vertices does everything, so that the few columns at work stay in the cache. At step
    c, column c receives its last pixels. Column c - 1 is blurred along the first axis, and column c - 2 along the other
    two. The pixels up to column c - 2 then receive their results.

    Args:
        weights: (W, H * lanes) float32; multiply the channels before and after the filter.
        lanes: number of channels of each pixel.
        scale: factor of the feature x, from `scale_factors`.
        channels: (W, H * lanes) float32.
        base: (W, H * lanes) float32; may be the result itself.
        result: (W, H * lanes) float32.
    """
    width, size = channels.shape
    columns = _left(width - 1, scale) + 2
    first = np.zeros((RING, size + 3 * lanes), np.float32)
    second, third = np.zeros_like(first), np.zeros_like(first[0])
    last = np.zeros_like(first)
    rows = np.repeat(np.arange(size // lanes).astype(np.float32), lanes)  # y of each channel of a column of pixels
    # what a column of pixels gives to the vertices above and below each; row 0 of `lower` and the last of `upper` are 0
    upper, lower = np.zeros(size + lanes, np.float32), np.zeros(size + lanes, np.float32)
    splat_x = slice_x = 0
    for c in range(columns + 2):
        first[(c + 1) % RING] = 0
        while splat_x < width and _left(splat_x, scale) <= c:
            even, odd, place, start, side = _around(splat_x, scale)
            _divide(channels[splat_x], weights[splat_x], rows, place, start, side, upper[:size], lower[lanes:])
            _add_rest(channels[splat_x], weights[splat_x], upper, lower[lanes:], first[even % RING, lanes:])
            _add_sum(upper, lower, first[odd % RING, lanes:])
            splat_x += 1
        if c > 0:
            _blur_diagonally(first, c - 1, columns, lanes, 0, second[(c - 1) % RING])
        if c > 1:
            _blur_diagonally(second, c - 2, columns, lanes, lanes, third)
            here = last[(c - 2) % RING, lanes : len(third) - lanes]
            _add_half(third[lanes:], third, third[2 * lanes :], here)
        while slice_x < width and _left(slice_x, scale) + 1 <= c - 2:
            even, odd, place, start, side = _around(slice_x, scale)
            here, up, down = last[even % RING, lanes:], last[odd % RING, lanes:], last[odd % RING, 2 * lanes :]
            _slice_column(here, up, down, weights[slice_x], rows, place, start, side, base[slice_x], result[slice_x])
            slice_x += 1


@kernel
def _left(x: int, scale: np.float32) -> np.int64:
    """Return the column of vertices to the left of a pixel. The lattice rounds 1.5 u to float32."""
    return np.int64(np.float64(np.float32(x) * scale) / 1.5)


@kernel
def _around(x: int, scale: np.float32) -> tuple[np.int64, np.int64, np.float32, np.float32, np.float32]:
    """Return the even and the odd column next to a pixel, and the last arguments of `_weight`."""
    left = _left(x, scale)
    even, odd = left + (left & 1), left + 1 - (left & 1)
    return even, odd, np.float32(x) * scale, np.float32(1.5 * even), np.float32(odd - even)


@exact_kernel
def _weight(y: np.float32, place: np.float32, start: np.float32, side: np.float32) -> np.float32:
    """Return the weight t / 2 of the lower vertex of the odd column, or that of the upper vertex for -y.

    Args:
        y: y of the pixel if the odd column is the right one, -y if it is the left one.
        place: 1.5 u of the pixel.
        start: 1.5 u of the even column.
        side: 1 if the odd column is the right one, or -1.
    """
    return ((y + place) - y - start) * (side / np.float32(3))


@kernel
def _divide(
    channels: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    place: np.float32,
    start: np.float32,
    side: np.float32,
    upper: np.ndarray,
    lower: np.ndarray,
) -> None:
    """Compute what a column of pixels gives to the vertices above and below each pixel."""
    for i in range(len(channels)):
        pixel, y = channels[i] * weights[i], side * rows[i]
        upper[i] = pixel * _weight(-y, place, start, side)
        lower[i] = pixel * _weight(y, place, start, side)


@kernel
def _add_rest(
    channels: np.ndarray, weights: np.ndarray, upper: np.ndarray, lower: np.ndarray, vertices: np.ndarray
) -> None:
    """Add what a column of pixels does not give to the odd column to the vertices of the even column."""
    for i in range(len(channels)):
        vertices[i] += channels[i] * weights[i] - (upper[i] + lower[i])


@kernel
def _add_sum(upper: np.ndarray, lower: np.ndarray, vertices: np.ndarray) -> None:
    for i in range(len(upper)):
        vertices[i] += upper[i] + lower[i]


@kernel
def _slice_column(
    here: np.ndarray,
    up: np.ndarray,
    down: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    place: np.float32,
    start: np.float32,
    side: np.float32,
    base: np.ndarray,
    result: np.ndarray,
) -> None:
    for i in range(len(result)):
        y = side * rows[i]
        upper, lower = _weight(-y, place, start, side), _weight(y, place, start, side)
        rest = np.float32(1) - (upper + lower)
        result[i] = base[i] + weights[i] * (rest * here[i] + (upper * up[i] + lower * down[i]))


@kernel
def _blur_diagonally(ring: np.ndarray, c: int, columns: np.int64, lanes: int, up: int, blurred: np.ndarray) -> None:
    """Blur column c along the axis (1 column, 1/2 px) if `up` is 0, or (1 column, -1/2 px) if `up` is `lanes`."""
    if c >= columns:
        blurred[:] = 0
        return
    before, here, after = ring[(c - 1) % RING], ring[c % RING], ring[(c + 1) % RING]
    # y + 1/2 of an even column is one row further in an odd column; y + 1/2 of an odd column is the same row of an even
    if c & 1:
        after, before = after[lanes - up :], before[up:]
    else:
        after, before = after[2 * lanes - up :], before[lanes + up :]
    end = len(blurred) - (lanes if c == 0 or c & 1 else 2 * lanes)
    _add_half(here[lanes:], before, after, blurred[lanes:end])
    blurred[end:] = 0


@kernel
def _add_half(here: np.ndarray, before: np.ndarray, after: np.ndarray, blurred: np.ndarray) -> None:
    half = np.float32(0.5)
    for i in range(len(blurred)):
        blurred[i] = here[i] + half * (before[i] + after[i])
