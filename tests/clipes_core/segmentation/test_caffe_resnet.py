import pytest
import torch
from mmseg.models.backbones import ResNet

from clipes_core.segmentation import CaffeResNet

SMALL = {"depth": 50, "base_channels": 4, "stem_channels": 8, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}


def test_strides_are_on_the_first_convolution_of_a_bottleneck():
    first = CaffeResNet(**SMALL).layer2[0]
    assert (first.conv1.stride, first.conv2.stride) == ((2, 2), (1, 1))


@pytest.mark.parametrize(("side", "caffe", "torchvision"), [(321, 41, 41), (320, 41, 40), (97, 13, 13)])
def test_the_max_pool_rounds_up(side, caffe, torchvision):
    photo = torch.zeros(1, 3, side, 33)
    assert [network(**SMALL)(photo)[-1].shape[2] for network in (CaffeResNet, ResNet)] == [caffe, torchvision]


def test_tensors_are_named_as_in_torchvision():
    assert CaffeResNet(**SMALL).state_dict().keys() == ResNet(**SMALL).state_dict().keys()
