"""Give the ViTs of timm, such as those of SigLIP and EVA01, the layout of OpenCLIP's own ViT.

OpenCLIP takes the image networks of many models from timm. Where such a network is a plain ViT, only the names of its
parts differ from OpenCLIP's `VisionTransformer`, so that the same code can run both. A plain ViT is a sequence of
blocks, each of which adds the output of an attention layer and of an MLP to the tokens, and normalises the input of
both with a LayerNorm. An absolute positional embedding tells the patches apart, and there is at most one token that
stands for the whole photo.
"""

from collections.abc import Iterator
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import LayerScale, ResidualAttentionBlock
from timm.layers import Attention, AttentionPoolLatent, Mlp, PatchEmbed
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn


def is_timm(visual: Any) -> bool:
    """Return whether timm, and not OpenCLIP, implements the visual tower of an OpenCLIP model."""
    return isinstance(visual, TimmModel)


def timm_problem(visual: Any) -> str | None:
    """Return why a network of timm is not a plain ViT, as a part of a sentence; None if it is one.

    Args:
        visual: visual tower of an OpenCLIP model, of the class `TimmModel`. Its weights may be on the meta device.
    """
    return next(_problems(visual), None)


class TimmVit(nn.Module):
    """A plain ViT of timm whose parts have the names of those of OpenCLIP's `VisionTransformer`.

    The weights are not copied, except for the bias of EVA's attention layers, which has no part for the keys.

    Args:
        visual: visual tower of an OpenCLIP model, of the class `TimmModel`, for which `timm_problem` is None.

    Attributes:
        class_embedding: (C,), or None if the network has no class token.
        positional_embedding: (P + native h * native w, C), where P is 1 with a class token, otherwise 0.
        map_pool: attention layer that turns the normalised patches into the image embedding; None if there is none.
        proj: (C, D), or None if the embedding is not projected.
        proj_bias: (D,), or None.
    """

    def __init__(self, visual: TimmModel) -> None:
        super().__init__()
        trunk = visual.trunk
        self.image_mean, self.image_std = (getattr(visual, name, None) for name in ("image_mean", "image_std"))
        self.conv1, self.grid_size = trunk.patch_embed.proj, trunk.patch_embed.grid_size
        self.class_embedding = None if trunk.cls_token is None else _parameter(trunk.cls_token[0, 0])
        positions = trunk.pos_embed[0]
        if trunk.no_embed_class and trunk.cls_token is not None:
            positions = torch.cat([torch.zeros_like(positions[:1]), positions])
        self.positional_embedding = _parameter(positions)
        self.ln_pre = trunk.norm_pre
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(_residual_block(block) for block in trunk.blocks)
        self.final_ln_after_pool = isinstance(trunk.norm, nn.Identity)
        self.ln_post = trunk.fc_norm if self.final_ln_after_pool else trunk.norm
        self.map_pool = trunk.attn_pool
        (projection,) = _projections(visual) or (None,)
        self.proj = None if projection is None else _parameter(projection.weight.T)
        self.proj_bias = None if projection is None or projection.bias is None else projection.bias


def _problems(visual: TimmModel) -> Iterator[str]:
    trunk = visual.trunk
    if type(trunk) not in (VisionTransformer, Eva):
        yield f"its image network is not a plain ViT but timm's {type(trunk).__name__}"
        return
    if getattr(trunk, "rope", None) is not None:
        yield "its image network has rotary position embeddings"
    if type(trunk.patch_embed) is not PatchEmbed or not isinstance(trunk.patch_embed.norm, nn.Identity):
        yield "its image network computes the patches with more layers than one convolution"
    if trunk.pos_embed is None:
        yield "its image network has no absolute position embeddings"
    if trunk.reg_token is not None:
        yield "its image network has register tokens"
    for block in trunk.blocks:
        yield from _problems_of_block(block)
    if isinstance(trunk.norm, nn.Identity) == isinstance(trunk.fc_norm, nn.Identity):
        yield "its image network does not have exactly one normalisation layer after the blocks"
    pool = type(trunk.attn_pool) if trunk.attn_pool is not None else trunk.global_pool
    if pool not in ("token", "avg", AttentionPoolLatent) or getattr(trunk, "pool_include_prefix", False):
        yield f"its image embedding comes from a pooling that clipes does not have ({getattr(pool, '__name__', pool)})"
    others = [part for part in _head(visual) if not isinstance(part, nn.Linear)]
    if others or len(_projections(visual)) > 1:
        yield "its image embedding is projected with more than one linear layer"


def _problems_of_block(block: Any) -> Iterator[str]:
    if type(block) not in (Block, EvaBlock) or type(block.attn) not in (Attention, EvaAttention):
        yield f"the blocks of its image network are not those of a plain ViT ({type(block).__name__} of timm)"
        return
    attn = block.attn
    if attn.qkv is None or attn.num_heads * attn.head_dim != attn.proj.out_features or attn.gate is not None:
        yield "its attention layers are not those of a plain ViT"
    if not all(isinstance(norm, nn.Identity) for norm in (attn.q_norm, attn.k_norm, attn.norm)):
        yield "its attention layers normalise queries, keys or their output"
    if type(block.mlp) is not Mlp or not isinstance(block.mlp.norm, nn.Identity):
        yield f"the MLPs of its image network are not those of a plain ViT ({type(block.mlp).__name__} of timm)"
    if not all(isinstance(norm, nn.LayerNorm) for norm in (block.norm1, block.norm2)):
        yield f"its blocks normalise with {type(block.norm1).__name__} instead of LayerNorm"


def _head(visual: TimmModel) -> list[nn.Module]:
    """Return the layers between the pooling and the image embedding, without those that only act in a training."""
    layers = [visual.trunk.head, *visual.head.children()]
    return [layer for layer in layers if not isinstance(layer, nn.Identity | nn.Dropout)]


def _projections(visual: TimmModel) -> list[nn.Linear]:
    return [layer for layer in _head(visual) if isinstance(layer, nn.Linear)]


def _residual_block(block: Any) -> ResidualAttentionBlock:
    """Return a block of OpenCLIP with the weights of a block of timm."""
    width, attn = block.norm1.normalized_shape[0], block.attn
    with torch.device("meta"):  # whose weights need no memory, because those of timm replace them
        result = ResidualAttentionBlock(width, attn.num_heads, mlp_ratio=block.mlp.fc1.out_features / width)
    result.ln_1, result.ln_2 = block.norm1, block.norm2
    result.attn.in_proj_weight, result.attn.in_proj_bias = attn.qkv.weight, _parameter(_qkv_bias(attn))
    result.attn.out_proj.weight, result.attn.out_proj.bias = attn.proj.weight, attn.proj.bias
    result.mlp.c_fc, result.mlp.gelu, result.mlp.c_proj = block.mlp.fc1, block.mlp.act, block.mlp.fc2
    if isinstance(block, EvaBlock):
        result.ls_1, result.ls_2 = (_layer_scale(gamma) for gamma in (block.gamma_1, block.gamma_2))
    else:
        result.ls_1, result.ls_2 = block.ls1, block.ls2
    return result


def _qkv_bias(attn: Any) -> torch.Tensor:
    """Return the (3 C,) bias of queries, keys and values. Without a bias, it is 0."""
    if getattr(attn, "q_bias", None) is not None:
        return torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
    bias: torch.Tensor | None = attn.qkv.bias
    return attn.qkv.weight.new_zeros(len(attn.qkv.weight)) if bias is None else bias


def _layer_scale(gamma: nn.Parameter | None) -> nn.Module:
    if gamma is None:
        return nn.Identity()
    scale = LayerScale(len(gamma))
    scale.gamma = gamma
    return scale


def _parameter(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach(), requires_grad=False)
