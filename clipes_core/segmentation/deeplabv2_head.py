"""The head of DeepLabV2, which computes class logits as the sum of dilated convolutions of the features."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Computes the sum of 3x3 convolutions, each with its own dilation and bias.

    The head has no image pooling, bottleneck or dropout. The parameters are named `branches.<i>.weight` and
    `branches.<i>.bias`. A config can use these names to set learning rates per parameter.

    Args:
        in_channels: number of channels of the features, C.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        dilations: dilation of each convolution.
        **kwargs: keyword arguments of MMSegmentation's BaseDecodeHead, such as `in_index` and `loss_decode`.

    Source: DeepLab (Chen et al., TPAMI 2018), ASPP-L. As in the training of CLIP-ES, weights are initialised from a
        normal distribution with mean 0 and standard deviation 0.01, and biases with 0.
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
        del self.conv_seg  # the branches replace MMSegmentation's classifier
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the class logits at each position.

        Args:
            inputs: feature maps of the backbone's stages. The head uses only `inputs[in_index]`, (B, C, h, w) float.

        Returns:
            (B, 1 + K, h, w) logits.
        """
        features = self._transform_inputs(inputs)
        return torch.stack([branch(features) for branch in self.branches]).sum(dim=0)
