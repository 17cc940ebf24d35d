import pytest
import torch
from support.small_resnets import resnet_clip
from support.tiny_networks import tiny_visual

from clipes_core.backbones.kinds import open_backbone
from clipes_core.backbones.resnet import ResNetBackbone
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import WeightsError


def test_each_network_is_opened_by_the_backbone_of_its_kind():
    backbone = open_backbone(tiny_visual(), "cls", "cpu", "fp32")
    assert isinstance(backbone, VitBackbone)
    assert backbone.pooling == "cls"
    assert isinstance(open_backbone(resnet_clip().visual, "attention", "cpu", "fp16"), ResNetBackbone)


def test_refuses_networks_of_other_kinds():
    advice = "set clip.model to a name such as ViT-B-16-quickgelu or RN50-quickgelu"
    kinds = "a plain ViT of OpenCLIP or timm, or a ResNet of OpenCLIP"
    expected = f"clip.model: expected a model whose image network is {kinds}, found Linear; {advice}"
    with pytest.raises(WeightsError, match=f"^{expected}$"):
        open_backbone(torch.nn.Linear(1, 1), "patch_mean", "cpu", "fp32")


@pytest.mark.parametrize(
    "unlike", [{"attentional_pool": True, "attn_pooler_heads": 2}, {"block_type": "custom", "qk_norm": True}]
)
def test_refuses_vits_with_other_pooling_or_attention(unlike):
    with pytest.raises(WeightsError, match="or a ResNet of OpenCLIP, found VisionTransformer; set"):
        open_backbone(tiny_visual(**unlike), "patch_mean", "cpu", "fp32")
