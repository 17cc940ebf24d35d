"""Decide from a model's architecture whether clipes supports the model, and say why not."""

import json
from functools import cache
from typing import Any

VISION_SWITCHES = {  # of OpenCLIP's ViT, which add layers that the blocks of clipes do not have
    "qk_norm": "its attention layers normalise queries and keys",
    "scaled_cosine_attn": "its attention layers compare queries and keys by their cosine",
    "scale_heads": "its attention layers scale each head",
    "scale_attn_inner": "its attention layers normalise their output",
    "scale_attn": "its blocks normalise the output of attention",
    "scale_fc": "its MLPs contain a normalisation layer",
    "block_type": "the blocks of its image network are not those of a plain ViT",
}


def unsupported(architecture: dict[str, Any]) -> str | None:
    """Return why clipes does not support a model, as a part of a sentence; None if clipes supports it.

    Args:
        architecture: content of an OpenCLIP file of a model. If its image network comes from timm, this network is
            built without memory to look at its layers, which imports torch and OpenCLIP.
    """
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    if "multimodal_cfg" in architecture:
        return "it is a CoCa model, which pools the image with many queries for captions"
    if "hf_model_name" in text:
        return f"its text network {text['hf_model_name']} belongs to the transformers library, not to OpenCLIP"
    if "timm_model_name" in vision:
        return _unsupported_timm(json.dumps([architecture["embed_dim"], vision]))
    if vision.get("attentional_pool"):
        return "its image embedding comes from OpenCLIP's attention pooling with many queries"
    return next((reason for switch, reason in VISION_SWITCHES.items() if vision.get(switch)), None)


@cache
def _unsupported_timm(described: str) -> str | None:
    """Say why clipes does not support an image network of timm. `described` is JSON: its embed_dim and vision_cfg."""
    import torch
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    from clipes_core.vit.timm_vit import timm_problem

    embed_dim, vision = json.loads(described)
    with torch.device("meta"):
        return timm_problem(_build_vision_tower(embed_dim, CLIPVisionCfg(**vision)))
