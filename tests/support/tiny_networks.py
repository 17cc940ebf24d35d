"""A small image network of OpenCLIP's own class."""

import torch
from open_clip.transformer import QuickGELU, VisionTransformer


def tiny_visual(seed=0, **changes):
    """Return a ViT of four blocks on 4 x 4 patches of 8 px with random weights and biases."""
    sizes = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 4, "heads": 2, "mlp_ratio": 4.0}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        visual = VisionTransformer(**sizes | {"output_dim": 16, "act_layer": QuickGELU} | changes)
        for weight in visual.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return visual.eval()
