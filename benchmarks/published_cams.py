"""Compute CAMs plainly, in the way of the published program of CLIP-ES, as the baseline of the benchmark `cams.py`.

The steps are those of the published program: one photo at a time; every block returns its attention weights; the last
block runs once per class, forwards and backwards; the affinity matrix is squared once per class, in float32; the CAMs
are resized to the photo and saved as float16. Each step uses the ordinary layers and functions of torch, such as
`nn.MultiheadAttention` and autograd, so that the baseline is no slower than the published program. For the same reason,
the mean of the attention and Sinkhorn's rounds are computed once per photo, because they are the same for all classes.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipes_core.affinity import box_mask
from clipes_core.backbones.backbone import OPENAI_MEAN, OPENAI_STD

ATTENTION_BLOCKS, SINKHORN_ROUNDS, BOX_THRESHOLD, EPSILON = 8, 3, 0.4, 1e-7


def save_cams(visual: Any, texts: torch.Tensor, classes: int, scale: float, image: Image.Image, path: Path) -> Any:
    """Compute the CAMs of a photo, and save them at the size of the photo.

    Args:
        visual: visual tower of an OpenCLIP ViT, in float32.
        texts: (K + M, D) float32 text features of K classes, then of M background words.
        classes: K.
        scale: CLIP's logit scale, after exp.
        image: RGB photo.
        path: file to write: (K, H, W) float16.

    Returns:
        (K, h, w) float32, the refined CAMs on the grid of the patches.
    """
    patch = visual.conv1.kernel_size[0]
    grid_hw = -(-image.height // patch), -(-image.width // patch)
    tokens, attentions = _first_blocks(visual, _pixels(image, grid_hw, patch), grid_hw)
    cams = []
    for index in range(classes):
        features, gradient, attention = _last_block(visual, tokens, texts, scale, index)
        cam = torch.relu(features @ gradient.mean(dim=0)).reshape(grid_hw)
        cams.append(_normalised(_normalised(cam)).numpy())
    affinity = _affinity([*attentions, attention])
    refined = [_refined(cam, affinity) for cam in cams]
    size = image.width, image.height
    np.save(path, np.stack([cv2.resize(cam, size) for cam in refined]).astype(np.float16))
    return np.stack(refined)


def _pixels(image: Image.Image, grid_hw: tuple[int, int], patch: int) -> torch.Tensor:
    resized = image.resize((grid_hw[1] * patch, grid_hw[0] * patch), Image.Resampling.BICUBIC)
    colours = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(each)[:, None, None] for each in (OPENAI_MEAN, OPENAI_STD))
    return ((colours - mean) / std)[None]


@torch.no_grad()
def _first_blocks(
    visual: Any, pixels: torch.Tensor, grid_hw: tuple[int, int]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the (1, 1 + hw, C) tokens before the last block, and the attention weights of the blocks before it."""
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    native = visual.positional_embedding[1:].T.reshape(1, -1, *visual.grid_size)
    resized = F.interpolate(native, grid_hw, mode="bilinear", align_corners=False).flatten(2)[0].T
    positions = torch.cat([visual.positional_embedding[:1], resized])
    tokens = torch.cat([visual.class_embedding.expand(1, 1, -1), patches], dim=1)
    tokens, attentions = visual.ln_pre(tokens + positions), []
    for block in visual.transformer.resblocks[:-1]:
        tokens, attention = _block(block, block.ln_1(tokens), tokens)
        attentions.append(attention)
    return tokens, attentions


def _block(block: Any, normed: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    attended, attention = block.attn(normed, normed, normed, need_weights=True)
    tokens = tokens + attended
    return tokens + block.mlp(block.ln_2(tokens)), attention[0]


def _last_block(
    visual: Any, tokens: torch.Tensor, texts: torch.Tensor, scale: float, index: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the (hw, C) features, the gradient of the score of a class with respect to them, and the attention."""
    block = visual.transformer.resblocks[-1]
    features = block.ln_1(tokens).detach().requires_grad_(True)
    output, attention = _block(block, features, tokens)
    embedding = visual.ln_post(output)[0, 1:].mean(dim=0) @ visual.proj
    scores = (scale * texts @ (embedding / embedding.norm())).softmax(dim=0)
    (gradient,) = torch.autograd.grad(scores[index], features)
    return features.detach()[0, 1:], gradient[0, 1:], attention.detach()


def _affinity(attentions: list[torch.Tensor]) -> torch.Tensor:
    balanced = torch.stack(attentions[-ATTENTION_BLOCKS:])[:, 1:, 1:].mean(dim=0)
    for _ in range(SINKHORN_ROUNDS):
        balanced = balanced / balanced.sum(dim=0, keepdim=True)
        balanced = balanced / balanced.sum(dim=1, keepdim=True)
    return (balanced + balanced.T) / 2


def _refined(cam: np.ndarray, affinity: torch.Tensor) -> np.ndarray:
    inside = torch.from_numpy(box_mask(cam, BOX_THRESHOLD)).flatten()
    squared = (affinity @ affinity) * inside
    spread = squared @ torch.from_numpy(cam).flatten()
    return _normalised(spread.reshape(cam.shape)).numpy()


def _normalised(cam: torch.Tensor) -> torch.Tensor:
    above = cam - cam.min()
    return above / (above.max() + EPSILON)
