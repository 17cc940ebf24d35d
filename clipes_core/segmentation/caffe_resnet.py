"""The variant of ResNet to which Caffe's weights belong."""

from typing import Any

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class CaffeResNet(ResNet):
    """ResNet as in Caffe: the first convolution of a bottleneck has the stride, and the max pool rounds its size up.

    The tensors have the same names and shapes as the tensors of torchvision's ResNet. Weights of the wrong variant
    therefore load without an error, but do not work well.

    Args:
        *args: positional arguments of MMSegmentation's ResNet.
        **kwargs: keyword arguments of MMSegmentation's ResNet, except for `style`.

    Source: kazuto1011/deeplab-pytorch, which uses weights from Caffe. The training of CLIP-ES is based on that
    repository.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, style="caffe", **kwargs)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
