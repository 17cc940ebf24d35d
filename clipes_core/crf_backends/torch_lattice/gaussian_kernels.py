"""The lattices of the two kernels of the dense CRF."""

import math

import numpy as np
import torch

from clipes_core.crf_backends.lattice.geometry import MOST_CELLS, axis_moves, cell_counts, key_strides
from clipes_core.crf_backends.torch_lattice.lattice import Lattice, build_lattice
from clipes_core.crf_backends.torch_lattice.simplices import corners_at_zero, find_simplices, scaled_features
from clipes_core.device import upload

LEVELS = 256  # of a colour
GROUP = 4  # pixels that pydensecrf processes together


def position_lattice(size_hw: tuple[int, int], xy_std: float, weight: float, device: torch.device) -> Lattice:
    """Return the lattice of the kernel that compares the positions of pixels. Its pixels are those of a single photo.

    Args:
        size_hw: height and width of the photos [px].
        xy_std: standard deviation [px].
        weight: weight of the kernel.
        device: device of the lattice.

    Raises:
        PhotoError: TOO_LARGE if the lattice has too many cells.
    """
    height, width = size_hw
    std = np.float32(xy_std)
    moves = axis_moves(key_strides(((width - 1) / std, (height - 1) / std)))
    x, y = (upload(feature, device) for feature in scaled_features((width, height), (std, std)))
    features = [x.expand(height, width), y[:, None].expand(height, width)]
    return _lattice(features, moves, torch.zeros(1, dtype=torch.int64, device=device), weight)


def most_photos(size_hw: tuple[int, int], xy_std: float, rgb_std: float) -> int:
    """Return how many photos can share a bilateral lattice before its keys exceed 64 bits.

    Raises:
        PhotoError: TOO_LARGE if the keys of a single photo do not fit.
    """
    return MOST_CELLS // math.prod(cell_counts(_largest(size_hw, _bilateral_stds(xy_std, rgb_std))))


def bilateral_lattice(images: torch.Tensor, xy_std: float, rgb_std: float, weight: float) -> Lattice:
    """Return the lattice of the kernel that compares positions and colours.

    Args:
        images: (H, W, B, 3) uint8, with at most `most_photos` photos. The pixels of the lattice have this order.
        xy_std: standard deviation of the position [px].
        rgb_std: standard deviation of the colours.
        weight: weight of the kernel.
    """
    height, width, photos, _ = images.shape
    stds = _bilateral_stds(xy_std, rgb_std)
    largest = _largest((height, width), stds)
    moves, cells = axis_moves(key_strides(largest)), math.prod(cell_counts(largest))
    x, y, *tables = (
        upload(feature, images.device) for feature in scaled_features((width, height, LEVELS, LEVELS, LEVELS), stds)
    )
    shape = images.shape[:-1]
    features = [x[:, None].expand(shape), y[:, None, None].expand(shape)]
    for colour, table in zip(images.unbind(-1), tables, strict=True):
        features.append(table.index_select(0, colour.flatten().int()).view(shape))
    return _lattice(features, moves, torch.arange(photos, device=images.device) * cells, weight)


def _bilateral_stds(xy_std: float, rgb_std: float) -> tuple[np.float32, ...]:
    return (*(np.float32(xy_std),) * 2, *(np.float32(rgb_std),) * 3)


def _largest(size_hw: tuple[int, int], stds: tuple[np.float32, ...]) -> tuple[np.float32, ...]:
    """Return the largest value of each feature of photos."""
    height, width = size_hw
    largest = (width - 1, height - 1, *[LEVELS - 1] * 3)
    return tuple(value / std for value, std in zip(largest, stds, strict=True))


def _lattice(features: list[torch.Tensor], moves: np.ndarray, offsets: torch.Tensor, weight: float) -> Lattice:
    """Build the lattice of pixels with these features.

    pydensecrf fills up its last group of pixels with pixels whose features are all 0, and the blur passes through the
    vertices around them. The lattice therefore has these vertices as well.

    Args:
        features: scaled features, each (H, W, B) float32, or (H, W) for a single photo.
        moves: (d + 1,) int64, the change of the key by a move along each axis.
        offsets: (B,) int64, the amount that is added to the keys of each photo.
        weight: weight of the kernel.
    """
    moves_here = upload(moves, offsets.device)
    keys, weights = find_simplices([feature.flatten() for feature in features], moves_here)
    keys.view(-1, len(offsets), len(moves)).add_(offsets[:, None])
    incomplete = len(keys) // len(offsets) % GROUP > 0
    others = (corners_at_zero(moves_here) + offsets[:, None]).flatten() if incomplete else offsets[:0]
    return build_lattice(keys, weights, others, moves_here, weight)
