import pytest
from open_clip.modified_resnet import ModifiedResNet
from support.tiny_networks import tiny_visual

from clipes_core.backbones.kinds import open_backbone
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import WeightsError


def test_a_vit_is_opened_as_a_vit():
    backbone = open_backbone(tiny_visual(), "cls", "cpu", "fp32")
    assert isinstance(backbone, VitBackbone)
    assert backbone.pooling == "cls"


def test_refuses_networks_other_than_a_plain_vit():
    advice = "choose a clip.model such as ViT-B-16-quickgelu, ViT-B-32-quickgelu or ViT-L-14-quickgelu"
    resnet = ModifiedResNet(layers=[1, 1, 1, 1], output_dim=8, heads=1, image_size=32, width=8)
    accepted = "an OpenCLIP ViT with torch.nn.MultiheadAttention and without attention pooling"
    expected = f"expected {accepted}, got ModifiedResNet: {advice}"
    with pytest.raises(WeightsError, match=expected):
        open_backbone(resnet, "patch_mean", "cpu", "fp32")


@pytest.mark.parametrize(
    "unlike", [{"attentional_pool": True, "attn_pooler_heads": 2}, {"block_type": "custom", "qk_norm": True}]
)
def test_refuses_vits_with_other_pooling_or_attention(unlike):
    with pytest.raises(WeightsError, match="without attention pooling, got VisionTransformer: choose"):
        open_backbone(tiny_visual(**unlike), "patch_mean", "cpu", "fp32")
