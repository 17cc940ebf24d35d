"""Mean-field inference on the differences between the labels' probabilities.

The mathematics is that of `clipes_core.crf_backends.lattice.mean_field`.
"""

from collections.abc import Sequence

import torch

from clipes_core.crf_backends.torch_lattice.lattice import Lattice


def mean_field(logits: torch.Tensor, lattices: Sequence[Lattice], iterations: int) -> torch.Tensor:
    """Return the posterior after a number of iterations, without any wait of the host for the device.

    Args:
        logits: (..., C) float32, the logits of the labels from 1 on relative to label 0, without the kernels.
        lattices: kernels of the CRF. All axes before the last are pixels, or pixels and photos.
        iterations: number of iterations, at least 1.

    Returns:
        (..., 1 + C) float32.

    Source: Krähenbühl and Koltun 2011, sec. 3.
    """
    probs = _softmax(logits)
    for _ in range(iterations):
        channels = probs[..., 1:] - probs[..., :1]
        messages = logits
        for lattice in lattices:
            messages = messages + lattice.filter(channels)
        probs = _softmax(messages)
    return probs


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    """Return the softmax of label 0, which has logit 0, and of the labels in `logits`."""
    return torch.softmax(torch.nn.functional.pad(logits, (1, 0)), dim=-1)
