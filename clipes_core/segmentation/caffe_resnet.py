"""The ResNet that weights from Caffe belong to."""

from typing import Any

from mmseg.models.backbones import ResNet
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class CaffeResNet(ResNet):
    """MMSegmentation's ResNet as in Caffe: a bottleneck's stride on its first 1x1, and a max pool that rounds up.

    The tensors have torchvision's names and shapes: nothing but the result shows that weights are of the other kind.

    Args:
        *args: of MMSegmentation's ResNet.
        **kwargs: of the same, but for `style`.

    Source: the base recipe of CLIP-ES's training, whose weights come from Caffe.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, style="caffe", **kwargs)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1, ceil_mode=True)
