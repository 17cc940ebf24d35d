import pytest

from clipes_core.config.image_networks import POOLED_VIT, RESNET, VIT, image_network, suited_config
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

RN50 = {"model": "RN50-quickgelu"}
LACKING = "which has no such image embedding"


def suited(network, **sections):
    return suited_config(parse_config({"name": "a", **sections}), network)


def test_the_number_of_layers_shows_the_kind():
    assert image_network({"vision_cfg": {"layers": [3, 4, 6, 3]}}) is RESNET
    assert image_network({"vision_cfg": {"layers": 12}}) is VIT
    assert image_network({"vision_cfg": {"timm_model_name": "eva_giant_patch14_224", "timm_pool": "token"}}) is VIT


def test_the_pooling_of_timm_shows_that_a_vit_has_attention_pooling():
    network = image_network({"vision_cfg": {"timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map"}})
    assert network is POOLED_VIT
    config = suited(network, clip={"model": "ViT-B-16-SigLIP"})
    assert (config.clip.pooling, config.cam.refine) == ("attention", "caa")
    expected = (
        f"clip.pooling cls: ViT-B-16-SigLIP is a ViT with attention pooling, {LACKING}; set clip.pooling to attention"
    )
    with pytest.raises(ConfigError, match=f"^{expected}$"):
        suited(network, clip={"model": "ViT-B-16-SigLIP", "pooling": "cls"})


def test_a_vit_changes_no_default():
    config = parse_config({"name": "a"})
    assert suited_config(config, VIT) is config
    assert (config.clip.pooling, config.cam.refine) == ("patch_mean", "caa")


def test_the_defaults_of_a_resnet_are_attention_pooling_and_no_refinement():
    config = suited(RESNET, clip=RN50, cam={"power": 1})
    assert (config.clip.pooling, config.cam.refine, config.cam.power) == ("attention", "none", 1)
    assert suited(RESNET, clip={**RN50, "pooling": "attention"}, cam={"refine": "none"}).cam.refine == "none"


@pytest.mark.parametrize("refine", ["caa", "mhsa"])
def test_a_refinement_that_needs_attention_is_refused_for_a_resnet(refine):
    with pytest.raises(ConfigError) as caught:
        suited(RESNET, clip=RN50, cam={"refine": refine})
    assert str(caught.value) == (
        f"cam.refine {refine}: RN50-quickgelu is a ResNet, which has no attention between patches to refine CAMs with; "
        "set cam.refine to none, or clip.model to a ViT"
    )


@pytest.mark.parametrize("pooling", ["patch_mean", "cls"])
def test_another_pooling_is_refused_for_a_resnet(pooling):
    expected = f"clip.pooling {pooling}: RN50-quickgelu is a ResNet, {LACKING}; set clip.pooling to attention"
    with pytest.raises(ConfigError, match=f"^{expected}$"):
        suited(RESNET, clip={**RN50, "pooling": pooling})


def test_attention_pooling_is_refused_for_a_vit():
    expected = f"clip.pooling attention: ViT-B-16 is a ViT, {LACKING}; set clip.pooling to patch_mean or cls"
    with pytest.raises(ConfigError, match=f"^{expected}$"):
        suited(VIT, clip={"model": "ViT-B-16", "pooling": "attention"})


def test_each_setting_that_does_not_suit_has_a_line():
    with pytest.raises(ConfigError) as caught:
        suited(RESNET, clip={**RN50, "pooling": "cls", "precision": "bf16"}, cam={"refine": "caa"})
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["cam.refine caa", "clip.pooling cls", "clip.precision bf16"]
    assert lines[2].endswith("does not support this precision; set clip.precision to one of auto, fp32, fp16, fast")
