"""Rearrange arrays between rows of pixels, as photos have them, and columns of pixels, as the kernels scan them."""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel

BLOCK = 64  # side of the squares in which arrays are transposed, so that both sides stay in the cache


@kernel
def image_columns(image, columns):
    """Copy an (H, W, 3) uint8 image into a (W, 3, H) array."""
    height, width, _ = image.shape
    for x0 in range(0, width, BLOCK):
        for y0 in range(0, height, BLOCK):
            for y in range(y0, min(y0 + BLOCK, height)):
                for x in range(x0, min(x0 + BLOCK, width)):
                    columns[x, 0, y] = image[y, x, 0]
                    columns[x, 1, y] = image[y, x, 1]
                    columns[x, 2, y] = image[y, x, 2]


@kernel
def logit_columns(unary, label, logits, lane):
    """Write the logit of a label relative to label 0 into one lane.

    Args:
        unary: (L, H, W) float32.
        label: label of the logit, at least 1.
        logits: (W, H, lanes) float32.
        lane: lane to write.
    """
    _, height, width = unary.shape
    for x0 in range(0, width, BLOCK):
        for y0 in range(0, height, BLOCK):
            for y in range(y0, min(y0 + BLOCK, height)):
                for x in range(x0, min(x0 + BLOCK, width)):
                    logits[x, y, lane] = unary[0, y, x] - unary[label, y, x]


@kernel
def posterior_rows(probabilities, lane, posterior):
    """Write the probability in one lane into rows.

    Args:
        probabilities: (W, H, lanes) float32.
        lane: lane to read.
        posterior: (H, W) float32; receives the probability.
    """
    height, width = posterior.shape
    for x0 in range(0, width, BLOCK):
        for y0 in range(0, height, BLOCK):
            for y in range(y0, min(y0 + BLOCK, height)):
                for x in range(x0, min(x0 + BLOCK, width)):
                    posterior[y, x] = probabilities[x, y, lane]
