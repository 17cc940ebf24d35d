"""Run the last block of CLIP's image network, and pass gradients of the image embedding back to the features.

Grad-CAM weights each channel of the features A by the mean over the patches of a gradient (CLIP-ES eq. (2)). For the
layout of OpenAI's networks with patch_mean pooling, this module has a closed form, which is faster than autograd:

- The gradient with respect to the pooled token is the same for all patches. The product of this gradient with the last
  weights of the MLP is therefore a vector, and one product of the patches with these weights serves all gradients.
- The gradients of queries, keys and values are needed only as sums over the patches. Each row of the gradient of the
  logits sums to zero, so the sum for the keys needs only the column of the class token. The queries need one product
  with the attention, which serves all gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import nn

from clipes_core.backbones.pull_back import PullBack
from clipes_core.flattened import by_photo
from clipes_core.vit.precision import QUICK_GELU
from clipes_core.vit.residual_block import attend_and_project, attention_heads, attention_parts


def has_closed_form(visual: Any, pooling: str) -> bool:
    """Return whether `in_closed_form` supports a network.

    It supports OpenCLIP's own ViTs with patch_mean pooling, SiLU or QuickGELU, and no layer scale.

    Args:
        visual: visual tower of an OpenCLIP model.
        pooling: `patch_mean` or `cls`.
    """
    block = visual.transformer.resblocks[-1]
    return (
        pooling == "patch_mean"
        and isinstance(visual, VisionTransformer)
        and not visual.final_ln_after_pool
        and isinstance(block.mlp.gelu, nn.SiLU | QuickGELU)
        and isinstance(block.ls_1, nn.Identity)
        and isinstance(block.ls_2, nn.Identity)
        and isinstance(block.ln_2, nn.LayerNorm)
        and isinstance(visual.ln_post, nn.LayerNorm)
    )


def in_closed_form(
    visual: Any, features: torch.Tensor, tokens: torch.Tensor, attention_sum: torch.Tensor | None
) -> tuple[torch.Tensor, PullBack]:
    """Compute embeddings, and pull gradients back in closed form, for a network that `has_closed_form`.

    Args:
        visual: visual tower of an OpenCLIP model.
        features: (B, 1 + hw, C), output of the last block's ln_1.
        tokens: (B, 1 + hw, C), the residual stream before the last block.
        attention_sum: as for `run_block`.

    Returns:
        (B, D) embeddings, and the function that pulls gradients back.
    """
    block = visual.transformer.resblocks[-1]
    attn, mlp, half = block.attn, block.mlp, block.mlp.c_fc.weight.dtype
    q, k, v = attention_heads(attn, features)
    mixed, projected = attend_and_project(attn, q, k, v, attention_sum)
    attended = tokens[:, 1:] + projected[:, 1:].to(tokens.dtype)  # the pooling does not read the class token
    before = _Normalised.of(block.ln_2, attended)
    hidden = mlp.c_fc(before.output.to(half))
    steepness = QUICK_GELU if isinstance(mlp.gelu, QuickGELU) else 1.0  # s in x * sigmoid(s x), the activation
    activated = hidden * torch.sigmoid(steepness * hidden) if steepness != 1 else F.silu(hidden)
    after = _Normalised.of(visual.ln_post, attended + mlp.c_proj(activated).to(tokens.dtype))
    pooled = after.output.mean(dim=1)
    embedding = pooled if visual.proj is None else pooled @ visual.proj

    def pull_back(gradients: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        return by_photo(gradients, counts, pull_back_of)

    def pull_back_of(photos: slice, gradients: torch.Tensor) -> torch.Tensor:
        """Pull back the (b, K, D) gradients of some photos."""
        at_pooled = gradients if visual.proj is None else gradients @ visual.proj.T
        slope = torch.ops.aten.silu_backward(torch.ones_like(hidden[photos]), steepness * hidden[photos])
        own_before, own_after = before.of_photos(photos), after.of_photos(photos)
        patches_in_mlp = own_after.normed.to(half) @ mlp.c_proj.weight  # (b, hw, 4 C)

        def at_attended(gradient: torch.Tensor) -> torch.Tensor:
            """Pass a (b, C) gradient at the pooled token back to the (b, hw, C) gradient after the attention."""
            centred, along = own_after.parts((gradient / attended.shape[1])[:, None])
            at_hidden = own_after.scale * slope * (centred.to(half) @ mlp.c_proj.weight - patches_in_mlp * along)
            at_mlp = (at_hidden.to(half) @ mlp.c_fc.weight).to(tokens.dtype)
            return own_after.scale * (centred - own_after.normed * along) + own_before.back(at_mlp)

        at_each = torch.stack([at_attended(each) for each in at_pooled.unbind(dim=1)], dim=1)
        return _mean_before_attention(attn, q[photos], k[photos], v[photos], mixed[photos], at_each)

    return embedding, pull_back


def _mean_before_attention(
    attn: nn.MultiheadAttention,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mixed: torch.Tensor,
    gradients: torch.Tensor,
) -> torch.Tensor:
    """Pass gradients back through the attention, and average them over the patches.

    Args:
        attn: attention layer.
        q: (B, heads, N, d) queries; the first one is that of the class token.
        k: (B, heads, N, d) keys.
        v: (B, heads, N, d) values.
        mixed: (B, heads, N, d), the attention's output before its projection.
        gradients: (B, K, N - 1, C) gradients with respect to the projected output of the patches.

    Returns:
        (B, K, C) mean over the patches of the gradients with respect to the input of the attention layer.
    """
    at_patches = (gradients.to(q.dtype) @ attn.out_proj.weight).unflatten(-1, (attn.num_heads, -1))
    at_mixed = F.pad(at_patches.permute(0, 3, 2, 1, 4), (0, 0, 0, 0, 1, 0))  # (B, heads, N, K, d), 0 at the class token
    level = (at_mixed * mixed[:, :, :, None]).sum(dim=-1, keepdim=True)  # (B, heads, N, K, 1)
    per_query = torch.cat([at_mixed, level], dim=-1)
    per_key = torch.zeros_like(per_query)
    to_class_token = q.new_empty((*q.shape[:3], 1, 1))
    for heads, rows, weights in attention_parts(q, k):
        weights = weights.to(q.dtype)
        to_class_token[:, heads, rows, 0] = weights[..., :1]
        reached = weights.transpose(-1, -2) @ per_query[:, heads, rows].flatten(3)
        per_key[:, heads] += reached.unflatten(-1, per_key.shape[3:])
    scale = q.shape[-1] ** -0.5
    # `columns` are the sums over the queries of the gradients with respect to the logits
    columns = (per_key[..., :-1] * v[:, :, :, None]).sum(dim=-1, keepdim=True) - per_key[..., -1:]
    at_q = scale * (columns * k[:, :, :, None]).sum(dim=2)
    first_column = to_class_token * ((at_mixed * v[:, :, :1, None]).sum(dim=-1, keepdim=True) - level)
    at_k = -scale * (first_column * q[:, :, :, None]).sum(dim=2)
    at_v = ((1 - to_class_token) * at_mixed).sum(dim=2)
    at_qkv = torch.cat([part.transpose(1, 2).flatten(2) for part in (at_q, at_k, at_v)], dim=-1)  # (B, K, 3 C)
    return (at_qkv @ attn.in_proj_weight).to(gradients.dtype) / gradients.shape[2]


@dataclass(frozen=True)
class _Normalised:
    """The output of a LayerNorm, and what its gradient needs.

    Attributes:
        weight: (C,), the weight of the layer.
        output: (B, N, C), the output of the layer.
        normed: (B, N, C), the input with mean 0 and variance 1.
        scale: (B, N, 1), 1 / standard deviation of the input.
    """

    weight: torch.Tensor
    output: torch.Tensor
    normed: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, layer: nn.LayerNorm, tokens: torch.Tensor) -> "_Normalised":
        normed, _, scale = torch.native_layer_norm(tokens, layer.normalized_shape, None, None, layer.eps)
        return cls(layer.weight, torch.addcmul(layer.bias, normed, layer.weight), normed, scale)

    def of_photos(self, photos: slice) -> "_Normalised":
        """Return the part of some photos of the batch."""
        return _Normalised(self.weight, self.output[photos], self.normed[photos], self.scale[photos])

    def parts(self, gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return c and s, such that scale * (c - normed * s) is the gradient with respect to the input.

        Args:
            gradients: (B, N or 1, C) gradients with respect to the output.
        """
        weighted = gradients * self.weight
        return weighted - weighted.mean(dim=-1, keepdim=True), (self.normed * weighted).mean(dim=-1, keepdim=True)

    def back(self, gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradients with respect to the input, (B, N, C), for those with respect to the output."""
        centred, along = self.parts(gradients)
        return self.scale * (centred - self.normed * along)
