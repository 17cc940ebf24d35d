"""The oracle's image network for ResNet CLIPs, in float64 from the weights. It imports nothing from this repository.

Axes: C channels, E embedding, H W pixels, h w positions, n = h * w.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

STRIDE = 32


def resnet_pass(
    visual: Any, pixels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[Tensor, Tensor]:
    """Compute features (n, C) and image embedding (E,) of (H, W, 3) uint8 RGB pixels; autograd connects both."""
    colours = (torch.tensor(pixels, dtype=torch.float64) / 255 - torch.tensor(mean).double()) / torch.tensor(
        std
    ).double()
    features = last_stage(visual, colours.permute(2, 0, 1)).requires_grad_()
    grid_hw = pixels.shape[0] // STRIDE, pixels.shape[1] // STRIDE
    return features, attention_pool(visual.attnpool, features, grid_hw)


def last_stage(visual: Any, colours: Tensor) -> Tensor:
    """Compute the output (n, C) of the last stage, row by row, from normalised colours (3, H, W)."""
    x = colours[None]
    for conv, norm, stride in (
        (visual.conv1, visual.bn1, 2),
        (visual.conv2, visual.bn2, 1),
        (visual.conv3, visual.bn3, 1),
    ):
        x = batch_norm(norm, conv2d(x, f64(conv.weight), stride=stride, padding=1)).clamp(min=0)
    x = averaged(x, 2)
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        for block in stage:
            x = bottleneck(block, x)
    return x[0].flatten(1).T.contiguous()


def bottleneck(block: Any, x: Tensor) -> Tensor:
    """Apply a residual block: 1x1, 3x3, average over stride x stride, 1x1; the same average before the shortcut."""
    inner = batch_norm(block.bn1, conv2d(x, f64(block.conv1.weight))).clamp(min=0)
    inner = batch_norm(block.bn2, conv2d(inner, f64(block.conv2.weight), padding=1)).clamp(min=0)
    inner = batch_norm(block.bn3, conv2d(averaged(inner, block.stride), f64(block.conv3.weight)))
    if block.downsample is not None:
        _, conv, norm = block.downsample
        x = batch_norm(norm, conv2d(averaged(x, block.stride), f64(conv.weight)))
    return (inner + x).clamp(min=0)


def batch_norm(norm: Any, x: Tensor) -> Tensor:
    """Normalise each channel by the statistics that the network has stored."""
    mean, variance, weight, bias = (
        f64(each)[:, None, None] for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / torch.sqrt(variance + norm.eps) * weight + bias


def averaged(x: Tensor, side: int) -> Tensor:
    """Average squares of side x side positions, which cover the map exactly."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, channels, height // side, side, width // side, side).mean(dim=(3, 5))


def attention_pool(pool: Any, features: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Pool features (n, C) to the image embedding (E,): all tokens attend, and the token of the mean is the result."""
    embedding = f64(pool.positional_embedding)
    side = math.isqrt(len(embedding) - 1)
    grid = embedding[1:].T.reshape(1, -1, side, side)
    grid = interpolate(grid, grid_hw, mode="bilinear", align_corners=False)[0].flatten(1).T
    tokens = torch.cat([(features.mean(dim=0) + embedding[0])[None], features + grid])
    queries, keys, values = (
        tokens @ f64(each.weight).T + f64(each.bias) for each in (pool.q_proj, pool.k_proj, pool.v_proj)
    )
    size = tokens.shape[1] // pool.num_heads
    heads = []
    for first in range(0, tokens.shape[1], size):
        part = slice(first, first + size)
        weights = (queries[:, part] @ keys[:, part].T / math.sqrt(size)).softmax(dim=1)
        heads.append(weights @ values[:, part])
    return (torch.cat(heads, dim=1) @ f64(pool.c_proj.weight).T + f64(pool.c_proj.bias))[0]


def f64(weight: Tensor) -> Tensor:
    return weight.detach().cpu().double()
