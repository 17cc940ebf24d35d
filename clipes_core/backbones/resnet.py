"""CLIP's ResNet, with access to the output of its last stage and to gradients through its attention pooling."""

from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from typing_extensions import override

from clipes_core.backbones.backbone import Backbone, Encoded, resize_positional_embedding
from clipes_core.backbones.pull_back import by_autograd

STRIDE = 32  # pixels of the photo per position of the last stage, in each direction
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "fast": torch.bfloat16}


class ResNetBackbone(Backbone):
    """The visual tower of an OpenCLIP ResNet, on one device.

    The features are the output of the last stage (layer4), before the attention pooling. The only image embedding is
    the output of the attention pooling. Its query is the mean of the features; no feature attends to another one, so
    there is no attention with which CAMs could be refined.

    In fp16 and fast, the convolutions use half precision. The attention pooling uses float32 in every precision.
    bf16 is not available, because it only concerns MLPs. Batch normalisation uses its stored statistics, which are
    folded into the weights of the convolutions.

    Args:
        visual: visual tower of an OpenCLIP model that `accepts` accepts.
        pooling: `attention`.
        device: device that the network runs on.
        precision: precision of the convolutions: fp32, fp16 or fast.

    Source: CLIP-ES, appendix. The published program has no code for ResNets.
    """

    patch_size = STRIDE
    depth = 0

    @classmethod
    @override
    def accepts(cls, visual: Any) -> bool:
        """Return whether a visual tower is OpenCLIP's ResNet with attention pooling, as in OpenAI's CLIPs."""
        return isinstance(visual, ModifiedResNet)

    @override
    def _convert(self, precision: str) -> None:
        for module in list(self.visual.modules()):
            _fold_batch_norms(module)
        self.visual.to(memory_format=torch.channels_last)
        for name, part in self.visual.named_children():
            if name != "attnpool":
                part.to(DTYPES[precision])

    @override
    def _encode(self, pixels: torch.Tensor, grid_hw: tuple[int, int], blocks: int) -> Encoded:
        visual = self.visual
        maps = visual.stem(pixels.to(visual.conv1.weight.dtype))
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            maps = stage(maps)
        features = maps.float().flatten(2).transpose(1, 2)
        native_hw = (int(visual.image_size) // STRIDE,) * 2
        positions = resize_positional_embedding(visual.attnpool.positional_embedding, native_hw, grid_hw)
        embedding, pull_back = by_autograd(lambda leaf: _attention_pool(visual.attnpool, leaf, positions), features)
        return Encoded(features, embedding, None, grid_hw, pull_back)


def _attention_pool(pool: Any, features: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Pool the features with attention whose only query is the mean of the features.

    Because there is one query, its product with the weights of the keys is computed before the product with the tokens,
    and the weights of the values are applied to the pooled tokens. The result is that of `AttentionPool2d`. The bias of
    the keys adds the same number to all logits of a head, so that the softmax does not depend on it.

    Args:
        pool: an `AttentionPool2d` of OpenCLIP.
        features: (B, hw, C), output of the last stage.
        positions: (1 + hw, C), positional embedding of the mean and of the features.

    Returns:
        (B, D) image embeddings.
    """
    tokens = torch.cat([features.mean(dim=1, keepdim=True), features], dim=1) + positions
    query = pool.q_proj(tokens[:, 0]).unflatten(-1, (pool.num_heads, -1))  # (B, heads, d)
    keys, values = (each.weight.unflatten(0, (pool.num_heads, -1)) for each in (pool.k_proj, pool.v_proj))
    asked = torch.einsum("bhd,hdc->bhc", query, keys)
    weights = (asked @ tokens.transpose(1, 2) * query.shape[-1] ** -0.5).softmax(dim=-1)  # (B, heads, 1 + hw)
    pooled = torch.einsum("bhc,hdc->bhd", weights @ tokens, values).flatten(1) + pool.v_proj.bias
    embedding: torch.Tensor = pool.c_proj(pooled)
    return embedding


def _fold_batch_norms(module: nn.Module) -> None:
    """Replace each pair of a convolution and a batch normalisation in a part of the network by one convolution."""
    pairs = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "0": "1"}  # the last one is in a downsampling layer
    parts: dict[str, Any] = dict(module.named_children())
    for conv, norm in pairs.items():
        if isinstance(parts.get(norm), nn.BatchNorm2d):
            setattr(module, conv, fuse_conv_bn_eval(parts[conv].double(), parts[norm].double()).float())
            setattr(module, norm, nn.Identity())
