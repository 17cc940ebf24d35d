"""Mean field."""

import numpy as np
from clipes_core.crf_backends.lattice.filters import BLOCK, channel_type, softmax, two_label_softmax
from clipes_core.crf_backends.lattice.layout import logit_columns, posterior_rows

MOST_LANES = 8
NEVER = np.float32(-1e30)


def mean_field(unary, kernels, iterations):
    labels, height, width = unary.shape
    if labels == 1:
        return np.ones_like(unary)
    lanes = min(1 << (labels - 2).bit_length(), MOST_LANES)
    groups = -(-(labels - 1) // lanes)
    unary_logits = np.full((groups, width, height, lanes), NEVER, np.float32)
    for label in range(1, labels):
        group, lane = divmod(label - 1, lanes)
        logit_columns(unary, label, unary_logits[group], lane)
    dtype = channel_type(lanes)
    flat = unary_logits.reshape(groups, -1).view(dtype)
    logits = flat.copy()
    differences = np.empty_like(flat)
    first = np.empty(width * height, np.float32)
    _softmax(logits, 1, differences, first)
    for iteration in range(iterations):
        np.copyto(logits, flat)
        for channels, result in zip(differences, logits, strict=True):
            for kernel in kernels:
                kernel.add_filtered(channels, result)
        _softmax(logits, int(iteration < iterations - 1), differences, first)
    posterior = np.empty_like(unary)
    posterior[0] = first.reshape(width, height).T
    plain = differences.view(np.float32).reshape(groups, width, height, lanes)
    for label in range(1, labels):
        group, lane = divmod(label - 1, lanes)
        posterior_rows(plain[group], lane, posterior[label])
    return posterior


def _softmax(logits, subtract, differences, first):
    if logits.dtype == np.float32:
        two_label_softmax(logits[0], np.float32(subtract), differences[0], first)
    else:
        exponents = np.empty((len(logits), BLOCK), logits.dtype)
        softmax(logits, np.float32(subtract), differences, first, exponents, exponents.view(np.float32).ravel())
