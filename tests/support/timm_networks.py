"""Small image networks of timm with random weights, under names that OpenCLIP's configs can use."""

from functools import partial

import torch
from open_clip.model import CustomTextCLIP
from timm.layers import SwiGLU
from timm.models import register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

SIZES = {"img_size": 48, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2}
NORM = partial(nn.LayerNorm, eps=1e-6)
SIGLIP_TEXT = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "norm_kwargs": {"eps": 1e-6}}


def _vit(**own):
    return partial(_built, VisionTransformer, own)


def _eva(**own):
    return partial(_built, Eva, {"norm_layer": NORM} | own)


def _built(kind, own, **changes):
    network = kind(**SIZES | own | changes)
    network.default_cfg = {}
    return network


NETWORKS = {
    "siglip": _vit(class_token=False, global_pool="map", norm_layer=NORM),
    "siglip2": _vit(class_token=False, global_pool="map", norm_layer=NORM, act_layer="gelu_tanh", mlp_ratio=3.7),
    "clip": _vit(pre_norm=True, norm_layer=nn.LayerNorm),  # the layout of MobileCLIP2-L-14
    "mean": _vit(class_token=False, global_pool="avg", fc_norm=False, qkv_bias=False, init_values=0.3),
    "mean_then_norm": _vit(global_pool="avg", no_embed_class=True),
    "eva01": _eva(),
    "eva01_scaled": _eva(init_values=0.2, qkv_bias=False),
    "rope": _eva(use_rot_pos_emb=True),
    "post_norm": _eva(use_post_norm=True),
    "swiglu": _eva(swiglu_mlp=True),
    "inner_norm": _eva(scale_attn_inner=True),
    "mlp_norm": _eva(scale_mlp=True),
    "separate_qkv": _eva(qkv_fused=False),
    "qk_norm": _vit(qk_norm=True),
    "registers": _vit(reg_tokens=2),
    "no_positions": _vit(pos_embed="none"),
    "swiglu_vit": _vit(mlp_layer=SwiGLU),
    "rms_norm": _vit(norm_layer="rmsnorm"),
    "maximum": _vit(global_pool="max"),
    "mean_of_all": _vit(global_pool="avg", pool_include_prefix=True),
    "patch_norm": _vit(embed_norm_layer=NORM),
    "no_last_norm": _vit(final_norm=False),
}
"""Name -> function that builds the network with the arguments of `timm.create_model`."""


def timm_name(network):
    """Return the name under which timm knows one of NETWORKS."""
    return f"clipes_test_{network}"


def _register(network, build):
    def entry(pretrained=False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **changes):
        return build(**changes)

    entry.__name__, entry.__module__ = timm_name(network), __name__
    register_model(entry)


for _network, _build in NETWORKS.items():
    _register(_network, _build)


def architecture_of(network, vision=(), text=(), **changes):
    """Return OpenCLIP's description of a model with one of NETWORKS and two text blocks."""
    averaged = dict.fromkeys(("mean", "mean_then_norm", "mean_of_all"), "avg")
    pool = {"siglip": "map", "siglip2": "map", "maximum": "max", **averaged}
    siglip = SIGLIP_TEXT if network.startswith("siglip") else {}
    return (
        {
            "embed_dim": 64 if siglip else 32,
            "custom_text": True,
            "vision_cfg": {
                "timm_model_name": timm_name(network),
                "timm_pool": pool.get(network, "token"),
                "timm_proj": "none" if siglip else None,
                "image_size": 48,
                **dict(vision),
            },
            "text_cfg": {
                "context_length": 77,
                "vocab_size": 49408,
                "width": 64,
                "heads": 2,
                "layers": 2,
                **siglip,
                **dict(text),
            },
        }
        | ({"init_logit_bias": -10} if siglip else {})
        | changes
    )


def timm_clip(network, seed=0, **changes):
    """Return a model with random weights and biases."""
    arguments = architecture_of(network, **changes)
    del arguments["custom_text"]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        clip = CustomTextCLIP(**arguments)
        for name, weight in clip.named_parameters():
            if not name.startswith("logit"):
                weight += 0.1 * torch.randn(weight.shape)
    return clip.eval().requires_grad_(False)
