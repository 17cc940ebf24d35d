"""The head of DeepLabV2: the sum of four dilated convolutions from features to class logits."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Sum of 3x3 convolutions with different dilations and a bias each; no image pooling, bottleneck or dropout.

    The parameters are `branches.<i>.weight` and `branches.<i>.bias`, which the parameter groups of a config can name.

    Args:
        in_channels: C of the features.
        num_classes: 1 + K.
        dilations: of the convolutions.
        **kwargs: of MMSegmentation's BaseDecodeHead, such as `in_index` and `loss_decode`.

    Source: DeepLab (Chen et al., TPAMI 2018), ASPP-L. Weights start from N(0, 0.01) and biases from 0, as in the recipe
        that CLIP-ES trains with.
    """

    def __init__(
        self, in_channels: int, num_classes: int, dilations: Sequence[int] = (6, 12, 18, 24), **kwargs: Any
    ) -> None:
        super().__init__(
            in_channels,
            channels=in_channels,
            num_classes=num_classes,
            out_channels=num_classes,
            dropout_ratio=0,
            init_cfg={"type": "Normal", "layer": "Conv2d", "std": 0.01, "bias": 0},
            **kwargs,
        )
        del self.conv_seg  # the branches are the classifier
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Classify each position.

        Args:
            inputs: the backbone's stages, (B, C, h, w) float each; `in_index` selects one.

        Returns:
            (B, 1 + K, h, w) logits.
        """
        features = self._transform_inputs(inputs)
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0)
