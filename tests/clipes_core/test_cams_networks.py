"""CAMs of networks of other layouts and sizes."""

import pytest
import torch
from open_clip.factory import get_model_config
from open_clip.model import CLIP
from PIL import Image
from support.cam_cases import assert_like_the_oracle
from support.timm_networks import timm_clip

from clipes_core.config.pseudo_masks import PromptsConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def small_clip(quick_gelu=True, text=(), **vision):
    """Return a CLIP with random weights: three image blocks of width 64 on patches of 8 px, two text blocks."""
    vision_cfg = {"image_size": 48, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8} | vision
    text_cfg = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2} | dict(text)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        clip = CLIP(embed_dim=32, vision_cfg=vision_cfg, text_cfg=text_cfg, quick_gelu=quick_gelu)
        for weight in clip.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return clip.eval().requires_grad_(False)


def named_clip(name):
    """Return OpenCLIP's network of this name with its initial weights and a single text block."""
    sizes = get_model_config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(**sizes | {"text_cfg": sizes["text_cfg"] | {"layers": 1}}).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({}, "patch_mean"),
        ({"quick_gelu": False}, "patch_mean"),
        ({"ls_init_value": 0.5}, "patch_mean"),
        ({"no_ln_pre": True}, "patch_mean"),
        ({"final_ln_after_pool": True}, "cls"),
        ({"final_ln_after_pool": True, "no_ln_pre": True, "pool_type": "avg"}, "patch_mean"),  # CLIPA
        ({"image_size": (32, 64)}, "patch_mean"),
        ({"layers": 1}, "patch_mean"),
        ({"head_width": 64, "mlp_ratio": 2.5, "patch_size": 16}, "patch_mean"),
    ],
    ids=str,
)
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_cams_of_small_networks_of_any_layout_equal_the_oracle(photo, settings, pooling, fusion):
    assert_like_the_oracle(small_clip(**settings), photo, PromptsConfig(fusion=fusion), pooling, attention_blocks=2)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("MetaCLIP and DFN", {"quick_gelu": True}),
        ("LAION and DataComp", {"quick_gelu": False}),
        (
            "CLIPA",
            {
                "quick_gelu": False,
                "no_ln_pre": True,
                "pool_type": "avg",
                "final_ln_after_pool": True,
                "text": {"context_length": 32, "pool_type": "last", "no_causal_mask": True},
            },
        ),
        ("MetaCLIP 2", {"text": {"pool_type": "eos", "eos_id": 49407}}),
    ],
)
def test_cams_of_each_family_of_open_clips_vits_equal_the_oracle(real_data, family, settings):
    photo = Image.open(real_data / "JPEGImages" / "2007_000068.jpg").convert("RGB").resize((140, 101))
    assert_like_the_oracle(small_clip(**settings), photo, PromptsConfig(), attention_blocks=2)


@pytest.mark.parametrize(
    ("network", "pooling"),
    [
        ("siglip", "attention"),
        ("siglip2", "attention"),
        ("eva01", "patch_mean"),
        ("eva01", "cls"),
        ("eva01_scaled", "patch_mean"),
        ("clip", "patch_mean"),
        ("clip", "cls"),
        ("mean", "patch_mean"),
        ("mean_then_norm", "patch_mean"),
    ],
)
def test_cams_of_networks_of_timm_equal_the_oracle(real_data, network, pooling):
    photo = Image.open(real_data / "JPEGImages" / "2007_000063.jpg").convert("RGB").resize((157, 121))
    clip = timm_clip(network)
    clip.visual.image_mean, clip.visual.image_std = (0.5, 0.4, 0.6), (0.5, 0.3, 0.4)
    assert_like_the_oracle(clip, photo, PromptsConfig(), pooling, attention_blocks=2)


@pytest.mark.parametrize(
    ("name", "size"), [("ViT-B-32-quickgelu", (150, 100)), ("ViT-B-32", (96, 96)), ("ViT-L-14-quickgelu", (70, 50))]
)
def test_cams_of_networks_as_large_as_open_clips_equal_the_oracle(photo, name, size):
    assert_like_the_oracle(named_clip(name), photo.resize(size), PromptsConfig())
