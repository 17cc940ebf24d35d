"""A tiny CLIP, whose sizes no network of OpenCLIP has."""

import torch

State = dict[str, torch.Tensor]
TINY = {
    "embed_dim": 56,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 128, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
