"""ViTs of timm in the layout of OpenCLIP's, compared with timm's own forward pass."""

import numpy as np
import pytest
import timm
import torch
from numpy.testing import assert_allclose
from open_clip.timm_model import TimmModel
from support.timm_networks import timm_clip
from support.tiny_networks import normalised
from timm.layers import Attention

from clipes_core.backbones.kinds import open_backbone
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import WeightsError
from clipes_core.vit.timm_vit import timm_problem

OWN_POOLING = {
    "siglip": "attention",
    "siglip2": "attention",
    "clip": "cls",
    "eva01": "cls",
    "eva01_scaled": "cls",
    "mean": "patch_mean",
    "mean_then_norm": "patch_mean",
}
PHOTOS = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("network", OWN_POOLING)
def test_the_embedding_is_that_of_timm(network):
    visual = timm_clip(network).visual
    encoded = VitBackbone(visual, OWN_POOLING[network]).encode(PHOTOS, 3)
    assert_allclose(encoded.embedding, visual(normalised(PHOTOS)).detach(), rtol=1e-4, atol=1e-5)
    assert encoded.features.shape == (2, 36, 64)
    assert (encoded.attn_weights.sum(dim=-1) <= 1 + 1e-5).all()


def test_photos_are_normalised_as_the_network_says():
    visual = timm_clip("siglip").visual
    visual.image_mean, visual.image_std = (0.5, 0.5, 0.5), (0.25, 0.5, 0.5)
    pixels = normalised(PHOTOS, visual.image_mean, visual.image_std)
    assert_allclose(VitBackbone(visual, "attention").encode(PHOTOS).embedding, visual(pixels).detach(), atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fast"])
def test_all_precisions_give_similar_embeddings(precision):
    visual = timm_clip("siglip").visual
    exact = VitBackbone(visual, "attention").encode(PHOTOS).embedding
    similar = VitBackbone(visual, "attention", precision=precision).encode(PHOTOS).embedding
    assert torch.cosine_similarity(exact, similar).min() > 0.999


def test_the_network_is_not_changed_and_its_weights_are_not_copied():
    visual = timm_clip("eva01").visual
    before = {name: weight.clone() for name, weight in visual.state_dict().items()}
    backbone = VitBackbone(visual, "cls")
    after = visual.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    block, own = visual.trunk.blocks[0], backbone.visual.transformer.resblocks[0]
    assert own.attn.in_proj_weight.data_ptr() == block.attn.qkv.weight.data_ptr()
    assert own.mlp.c_fc.weight.data_ptr() == block.mlp.fc1.weight.data_ptr()


@pytest.mark.parametrize(
    ("network", "pooling", "possible"),
    [
        ("siglip", "cls", ["attention"]),
        ("siglip", "patch_mean", ["attention"]),
        ("mean", "cls", ["patch_mean"]),
        ("eva01", "attention", ["patch_mean", "cls"]),
    ],
)
def test_a_pooling_that_the_network_does_not_have_is_refused(network, pooling, possible):
    with pytest.raises(WeightsError) as caught:
        VitBackbone(timm_clip(network).visual, pooling)
    assert str(caught.value) == (
        f"clip.pooling {pooling}: expected an image embedding that the network has, found a ViT with "
        f"{' and '.join(possible)}; set clip.pooling to {' or '.join(possible)}"
    )


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("rope", "its image network has rotary position embeddings"),
        ("post_norm", "the blocks of its image network have another layout (EvaBlockPostNorm of timm)"),
        ("swiglu", "the MLPs of its image network have another layout (GluMlp of timm)"),
        ("swiglu_vit", "the MLPs of its image network have another layout (SwiGLU of timm)"),
        ("mlp_norm", "the MLPs of its image network have another layout (Mlp of timm)"),
        ("inner_norm", "its attention layers normalise queries, keys or their output"),
        ("qk_norm", "its attention layers normalise queries, keys or their output"),
        ("separate_qkv", "its attention layers have another layout"),
        ("registers", "its image network has register tokens"),
        ("no_positions", "its image network has no absolute position embeddings"),
        ("rms_norm", "its blocks normalise with RmsNorm instead of LayerNorm"),
        ("maximum", "its image embedding comes from another kind of pooling (max)"),
        ("mean_of_all", "its image embedding comes from another kind of pooling (avg)"),
        ("patch_norm", "its image network finds the patches with several convolutions"),
        ("no_last_norm", "its image network has not exactly one normalisation layer after the blocks"),
    ],
)
def test_networks_of_another_layout_are_refused_with_the_reason(network, reason):
    visual = timm_clip(network).visual
    assert timm_problem(visual) == reason
    with pytest.raises(WeightsError, match="expected a plain ViT of OpenCLIP or timm"):
        open_backbone(visual, "cls", "cpu", "fp32")


@pytest.mark.parametrize("layout", [{"gated": True}, {"attn_head_dim": 16}], ids=str)
def test_attention_layers_of_another_layout_are_refused(layout):
    visual = timm_clip("clip").visual
    visual.trunk.blocks[1].attn = Attention(64, 2, **layout)
    assert timm_problem(visual) == "its attention layers have another layout"


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("convnext_tiny", {}, "its image network is not a plain ViT but timm's ConvNeXt"),
        ("vit_base_mci_224", {"pool": "token"}, "its image network finds the patches with several convolutions"),
        (
            "vit_base_patch16_clip_224",
            {"pool": "token", "proj": "mlp"},
            "its image embedding is projected with more than one linear layer",
        ),
    ],
)
def test_other_networks_of_timm_are_refused_with_the_reason(name, settings, reason):
    with torch.device("meta"):
        visual = TimmModel(name, embed_dim=32, **settings)
    assert timm_problem(visual) == reason


def test_the_registered_networks_are_known_to_timm():
    assert "clipes_test_siglip" in timm.list_models("clipes_test_*")
