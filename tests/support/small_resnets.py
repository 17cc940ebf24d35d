"""Small CLIPs with a ResNet of bottlenecks as in RN50, with random weights and statistics."""

from typing import Any

import torch
from open_clip.model import CLIP

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
SMALL = {"image_size": 64, "layers": [1, 2, 1, 2], "width": 16, "patch_size": None}


def resnet_architecture(**vision: Any) -> dict[str, Any]:
    """Return the architecture of a small model, which no model of OpenCLIP has."""
    return {"embed_dim": 48, "quick_gelu": True, "vision_cfg": SMALL | vision, "text_cfg": TEXT}


def resnet_clip(seed: int = 0, architecture: dict[str, Any] | None = None) -> CLIP:
    """Return a CLIP in eval mode whose weights and statistics of batch normalisation are all random."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = CLIP(**architecture or resnet_architecture())
        for name, tensor in model.visual.state_dict().items():
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith(".weight")):
                tensor.copy_(0.5 + torch.rand(tensor.shape))
            elif tensor.ndim == 1:
                tensor.copy_(0.2 * torch.randn(tensor.shape))
        model.logit_scale.fill_(3)
    return model.eval()
