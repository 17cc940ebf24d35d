"""Run the residual blocks of a ViT, and add up their attention."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

PART_BYTES = {"cpu": 2 << 20, "cuda": 1 << 30}  # cpu: of each thread, fits the cache of its core; cuda: keeps it busy


def run_block(
    block: Any, normed: torch.Tensor, tokens: torch.Tensor, attention_sum: torch.Tensor | None = None
) -> torch.Tensor:
    """Run a residual block from the output of its ln_1 to its end.

    Args:
        block: residual block of an OpenCLIP ViT.
        normed: (B, N, C) output of the block's ln_1.
        tokens: (B, N, C) residual stream before the block.
        attention_sum: (B, N, N) float32; if given, the mean over the heads of the block's attention is added to it in
            place.

    Returns:
        (B, N, C) residual stream after the block.
    """
    q, k, v = attention_heads(block.attn, normed)
    if attention_sum is not None and torch.is_grad_enabled():
        with torch.no_grad():
            attend(q, k, v, attention_sum)
        attention_sum = None
    attended = tokens + block.ls_1(attend_and_project(block.attn, q, k, v, attention_sum)[1].to(tokens.dtype))
    hidden = block.mlp(block.ln_2(attended).to(block.mlp.c_fc.weight.dtype))
    return attended + block.ls_2(hidden.to(tokens.dtype))


def attention_heads(attn: torch.nn.MultiheadAttention, normed: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values, each (B, heads, N, C / heads), for the (B, N, C) output of ln_1."""
    qkv = F.linear(normed.to(attn.in_proj_weight.dtype), attn.in_proj_weight, attn.in_proj_bias)
    return tuple(part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))


def attend_and_project(
    attn: torch.nn.MultiheadAttention,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attention_sum: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention's output before its projection, (B, heads, N, d), and after it, (B, N, C).

    The arguments are those of `attend`, but `attention_sum` may be None.
    """
    mixed = F.scaled_dot_product_attention(q, k, v) if attention_sum is None else attend(q, k, v, attention_sum)
    return mixed, attn.out_proj(mixed.transpose(1, 2).flatten(2))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_sum: torch.Tensor) -> torch.Tensor:
    """Compute attention, and add the mean of its weights over the heads to a sum.

    Args:
        q: (B, heads, N, d) queries.
        k: (B, heads, N, d) keys.
        v: (B, heads, N, d) values.
        attention_sum: (B, N, N) float32, changed in place.

    Returns:
        (B, heads, N, d) output of the attention.
    """
    mixed = torch.empty_like(q, memory_format=torch.contiguous_format)
    share = 1 / q.shape[1]
    for heads, rows, weights in attention_parts(q, k):
        mixed[:, heads, rows] = weights.to(v.dtype) @ v[:, heads]
        over_heads = weights[:, 0] if weights.shape[1] == 1 else weights.sum(dim=1)  # a sum of one head would copy it
        attention_sum[:, rows].add_(over_heads, alpha=share)
    return mixed


def attention_parts(q: torch.Tensor, k: torch.Tensor) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Compute attention weights in parts of about `PART_BYTES`, so that a CPU keeps each part in its cache.

    Args:
        q: (B, heads, N, d) queries.
        k: (B, heads, N, d) keys.

    Yields:
        The heads of a part, its rows (queries), and its weights, (B, heads of the part, rows of the part, N) in at
        least float32.
    """
    batch, heads, tokens, width = q.shape
    threads = torch.get_num_threads() if q.device.type == "cpu" else 1
    rows_at_once = max(1, threads * PART_BYTES.get(q.device.type, 64 << 20) // (4 * batch * tokens))
    heads_at_once = max(1, rows_at_once // tokens)
    scaled = q * width**-0.5
    at_least_float32 = torch.promote_types(q.dtype, torch.float32)
    for first_row in range(0, tokens, rows_at_once):
        rows = slice(first_row, first_row + rows_at_once)
        for first_head in range(0, heads, heads_at_once):
            own = slice(first_head, first_head + heads_at_once)
            logits = scaled[:, own, rows] @ k[:, own].transpose(-1, -2)
            yield own, rows, logits.softmax(dim=-1, dtype=at_least_float32)
