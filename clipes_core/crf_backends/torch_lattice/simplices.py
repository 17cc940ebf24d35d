"""Find the simplex of the lattice that surrounds each pixel, and the pixel's barycentric weights.

The mathematics and the order of operations are those of `clipes_core.crf_backends.lattice.simplices`. Each operation
is a kernel of its own, so no device merges two of them into one with another rounding.
"""

from collections.abc import Sequence

import numpy as np
import torch

from clipes_core.crf_backends.lattice.geometry import scale_factors


def scaled_features(values: Sequence[int], stds: Sequence[np.float32]) -> list[np.ndarray]:
    """Return, for each feature, its scaled value at 0, 1, 2, and so on.

    The host computes these few numbers, because a GPU would divide by multiplying with the reciprocal.

    Args:
        values: for each of the d features, the number of values.
        stds: standard deviation of each feature.

    Returns:
        For each feature, (values,) float32.
    """
    rows = zip(values, stds, scale_factors(len(stds)), strict=True)
    return [np.arange(count, dtype=np.float32) / std * scale for count, std, scale in rows]


def find_simplices(features: Sequence[torch.Tensor], moves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the keys and the weights of the corners of each pixel's simplex.

    Args:
        features: d tensors (P,) float32, the scaled features of each pixel.
        moves: (d + 1,) int64, the change of the key by a move along each axis.

    Returns:
        (P, d + 1) int64 keys, in the order of the moves from the vertex X; (P, d + 1) float32 weights.
    """
    elevated = _elevate(features)
    axes = elevated.shape[-1]
    one_part = float(np.float32(1) / np.float32(axes))
    rounded = torch.round(elevated * one_part)
    remainders = elevated - rounded * axes
    # R_d - R_j times the stride, which is the move along axis j < d
    first = (((rounded[:, -1:] - rounded[:, :-1]).long()) * moves[:-1]).sum(-1, keepdim=True)
    # of equal remainders, the one of the higher axis comes first; the sum turns -0 into 0
    remainders, order = torch.sort(remainders.flip(-1) + 0.0, dim=-1, stable=True)
    keys = torch.cat([first, moves[axes - 1 - order[:, :-1]]], dim=-1).cumsum(-1)
    across_the_end = (remainders[:, :1] - remainders[:, -1:]) * one_part + 1
    return keys, torch.cat([across_the_end, (remainders[:, 1:] - remainders[:, :-1]) * one_part], dim=-1)


def _elevate(features: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the (P, d + 1) coordinates of pixels in the plane of the lattice."""
    above = torch.zeros_like(features[0])
    coordinates = []
    for j in range(len(features), 0, -1):
        coordinates.append(above - features[j - 1] * j)
        above = above + features[j - 1]
    return torch.stack([above, *reversed(coordinates)], dim=-1)


def corners_at_zero(moves: torch.Tensor) -> torch.Tensor:
    """Return the (d + 1,) int64 keys of the corners around a pixel whose features are all 0."""
    back = moves[1:].flip(0)  # all remainders are equal, so the highest axis comes first
    return torch.cat([torch.zeros_like(moves[:1]), back.cumsum(0)])
