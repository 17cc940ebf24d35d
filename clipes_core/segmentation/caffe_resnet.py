"""The variant of ResNet that weights from Caffe were trained with."""

from typing import Any

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class CaffeResNet(ResNet):
    """ResNet as in Caffe: the first 1x1 convolution of a bottleneck has the stride, and the max pool rounds up.

    The tensors have torchvision's names and shapes. Weights of the wrong variant therefore load without an error.

    Args:
        *args: positional arguments of MMSegmentation's ResNet.
        **kwargs: keyword arguments of MMSegmentation's ResNet, except for `style`.

    Source: kazuto1011/deeplab-pytorch, the base recipe of CLIP-ES's training, which uses weights from Caffe.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, style="caffe", **kwargs)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
