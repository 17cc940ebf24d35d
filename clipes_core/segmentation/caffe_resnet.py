"""The variant of ResNet that Caffe's weights were trained with."""

from typing import Any

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class CaffeResNet(ResNet):
    """ResNet as in Caffe: the first 1x1 convolution of a bottleneck has the stride, and the max pool rounds up.

    The tensors have the same names and shapes as those of torchvision's ResNet. Weights of the wrong variant therefore
    load without an error.

    Args:
        *args: positional arguments of MMSegmentation's ResNet.
        **kwargs: keyword arguments of MMSegmentation's ResNet, except for `style`.

    Source: kazuto1011/deeplab-pytorch, on which the training of CLIP-ES is based. It uses Caffe's weights.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, style="caffe", **kwargs)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
