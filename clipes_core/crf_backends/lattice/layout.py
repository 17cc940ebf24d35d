"""Copy arrays from rows of pixels, as photos have them, to columns of pixels, as the kernels scan them, and back.

The copies go square by square, so that the rows and the columns at work stay in the processor's cache.
"""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel

SIDE = 64  # of a square [px]


@kernel
def image_columns(image: np.ndarray, columns: np.ndarray) -> None:
    """Copy an image, (H, W, 3) uint8, to (W, 3, H) uint8."""
    height, width, _ = image.shape
    for x0 in range(0, width, SIDE):
        for y0 in range(0, height, SIDE):
            for y in range(y0, min(y0 + SIDE, height)):
                for x in range(x0, min(x0 + SIDE, width)):
                    columns[x, 0, y] = image[y, x, 0]
                    columns[x, 1, y] = image[y, x, 1]
                    columns[x, 2, y] = image[y, x, 2]


@kernel
def logit_columns(unary: np.ndarray, label: int, logits: np.ndarray, lane: int) -> None:
    """Write the logits of a label relative to label 0, from (labels, H, W) float32, to a lane of (W, H, lanes)."""
    _, height, width = unary.shape
    for x0 in range(0, width, SIDE):
        for y0 in range(0, height, SIDE):
            for y in range(y0, min(y0 + SIDE, height)):
                for x in range(x0, min(x0 + SIDE, width)):
                    logits[x, y, lane] = unary[0, y, x] - unary[label, y, x]


@kernel
def posterior_rows(posterior: np.ndarray, lane: int, rows: np.ndarray) -> None:
    """Copy a lane of (W, H, lanes) float32 to (H, W) float32."""
    height, width = rows.shape
    for x0 in range(0, width, SIDE):
        for y0 in range(0, height, SIDE):
            for y in range(y0, min(y0 + SIDE, height)):
                for x in range(x0, min(x0 + SIDE, width)):
                    rows[y, x] = posterior[x, y, lane]
