"""A small image network of OpenCLIP's own class, and the pixels that it reads."""

import numpy as np
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

from clipes_core.backbones.backbone import OPENAI_MEAN, OPENAI_STD


def tiny_visual(seed=0, **changes):
    """Return a ViT of four blocks on 4 x 4 patches of 8 px with random weights and biases."""
    sizes = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 4, "heads": 2, "mlp_ratio": 4.0}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        visual = VisionTransformer(**sizes | {"output_dim": 16, "act_layer": QuickGELU} | changes)
        for weight in visual.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return visual.eval()


def normalised(photos_rgb, mean=OPENAI_MEAN, std=OPENAI_STD):
    """Return the (B, 3, H, W) float32 pixels that OpenCLIP's own network reads, for (B, H, W, 3) uint8 colours."""
    return torch.from_numpy((photos_rgb / 255 - np.array(mean)) / np.array(std)).float().permute(0, 3, 1, 2)
