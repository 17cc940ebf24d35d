"""Mean-field inference on the differences between the labels' probabilities.

Potts energies and the softmax depend on differences only, and the kernels are linear. One iteration therefore computes
logits z_l = u_l + K d_l for the labels l from 1 on, where d_l = q_l - q_0 is the difference of the probabilities, u_l
the difference of the unaries, and K the sum of the filters. The softmax of the logits, with z_0 = 0, gives the next q.
Two labels thus need a single channel.

Source: Krähenbühl and Koltun 2011, sec. 3.
"""

from collections.abc import Sequence

import numpy as np

from clipes_core.crf_backends.lattice.filters import (
    BLOCK,
    FOUR_LANES,
    channel_type,
    five_label_softmax,
    softmax,
    three_label_softmax,
    two_label_softmax,
)
from clipes_core.crf_backends.lattice.gaussian_kernels import GaussianKernel
from clipes_core.crf_backends.lattice.layout import logit_columns, posterior_rows
from clipes_core.crf_backends.lattice.scratch import scratch

NEVER = np.float32(-1e30)  # logit of a lane without a label


def lanes_for(labels: int) -> int:
    """Return the number of channels of an element; if the labels need more channels, they form groups of elements."""
    channels = labels - 1
    if channels <= 4:
        return 1 << (channels - 1).bit_length()
    return 8 if -channels % 8 < 4 else 4  # at most 3 lanes of a group have no label


def mean_field(unary: np.ndarray, kernels: Sequence[GaussianKernel], iterations: int) -> np.ndarray:
    """Return the posterior after a number of iterations.

    Args:
        unary: (labels, H, W) float32, at least two labels.
        kernels: kernels of the CRF, for elements of `lanes_for(labels)` channels.
        iterations: number of iterations, at least 1.

    Returns:
        (labels, H, W) float32.
    """
    labels, height, width = unary.shape
    lanes = lanes_for(labels)
    groups = -(-(labels - 1) // lanes)
    shape, element = (groups, width * height), channel_type(lanes)
    logits, probs = scratch("logits", shape, element), scratch("probs", shape, element)
    first = scratch("first", width * height, np.float32)
    own_columns = scratch("own logits", (groups, width, height, lanes), np.float32)
    for label, group, lane in _places(labels, lanes):
        logit_columns(unary, label, own_columns[group], lane)
    own_columns[-1, ..., labels - 1 - (groups - 1) * lanes :] = NEVER
    own = own_columns.reshape(groups, -1).view(element)
    _softmax(own, 1, probs, first)
    if not kernels:
        logits = own
    for iteration in range(iterations):
        for group in range(groups):
            base = own[group]
            for kernel in kernels:
                kernel.filter(probs[group], base, logits[group])
                base = logits[group]
        _softmax(logits, int(iteration < iterations - 1), probs, first)
    posterior = np.empty_like(unary)
    posterior_rows(first.reshape(width, height, 1), 0, posterior[0])
    columns = probs.view(np.float32).reshape(own_columns.shape)
    for label, group, lane in _places(labels, lanes):
        posterior_rows(columns[group], lane, posterior[label])
    return posterior


def _places(labels: int, lanes: int) -> list[tuple[int, int, int]]:
    """Return label, group and lane of each label from 1 on."""
    return [(label, *divmod(label - 1, lanes)) for label in range(1, labels)]


def _softmax(logits: np.ndarray, subtract: int, probs: np.ndarray, first: np.ndarray) -> None:
    """Call the kernel for these logits; the arguments are those of `softmax`."""
    groups, lanes = len(logits), logits.itemsize // 4
    if groups == 1 and lanes <= 4:
        by_lanes = {1: two_label_softmax, 2: three_label_softmax, 4: five_label_softmax}
        element = {1: np.float32, 2: np.complex64, 4: FOUR_LANES}[lanes]
        by_lanes[lanes](logits[0].view(element), np.float32(subtract), probs[0].view(element), first)
    else:
        exponents, exponentials = np.zeros((2, groups, BLOCK), logits.dtype)
        softmax(logits, np.float32(subtract), probs, first, exponents, exponentials)
