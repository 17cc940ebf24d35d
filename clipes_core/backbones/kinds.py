"""The kinds of image networks that clipes supports. A further kind is a subclass of `Backbone` and an entry here."""

from typing import Any

import torch

from clipes_core.backbones.backbone import Backbone
from clipes_core.backbones.resnet import ResNetBackbone
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import WeightsError

KINDS: tuple[type[Backbone], ...] = (VitBackbone, ResNetBackbone)


def open_backbone(visual: Any, pooling: str, device: torch.device | str, precision: str) -> Backbone:
    """Return the backbone of the kind that supports a network.

    Args:
        visual: visual tower of an OpenCLIP model.
        pooling: source of the image embedding, which the kind must have.
        device: device that the network runs on.
        precision: precision of the matrix products: fp32, bf16, fp16 or fast.

    Raises:
        WeightsError: no kind supports the network.
    """
    for kind in KINDS:
        if kind.accepts(visual):
            return kind(visual, pooling, device, precision)
    raise WeightsError(
        "clip.model: expected a model whose image network is a plain ViT of OpenCLIP or timm, or a ResNet of OpenCLIP, "
        f"found {type(visual).__name__}; set clip.model to a name such as ViT-B-16-quickgelu or RN50-quickgelu"
    )
