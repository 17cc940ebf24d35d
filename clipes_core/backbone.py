"""CLIP's image network, with access to its patch features, its attention and the gradients of its last block."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from clipes_core.errors import ShapeError, WeightsError
from clipes_core.finite import OF_CLIP, check_finite
from clipes_core.preprocessing import network_pixels

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
ATTENTION_BYTES_AT_ONCE = {"cpu": 4 << 20, "cuda": 1 << 30}  # cpu: fits the cache of a core; cuda: keeps a GPU busy


@dataclass(frozen=True)
class Encoded:
    """The network's output for a batch of photos.

    Attributes:
        features: (B, 1 + hw, C) float32, output of the last block's ln_1: the class token, then the patches. The
            patches are the A of CLIP-ES eq. (2). `embedding` can be differentiated with respect to `features`.
        embedding: (B, D) float32 image embeddings before L2 normalisation.
        attn_weights: (B, hw, hw) float32 attention between patches, averaged over all heads of the requested
            blocks; rows are queries. None if no attention was requested.
        grid_hw: (h, w), numbers of rows and columns of patches.
    """

    features: torch.Tensor
    embedding: torch.Tensor
    attn_weights: torch.Tensor | None
    grid_hw: tuple[int, int]


class Backbone:
    """The visual tower of an OpenCLIP ViT, on one device.

    With dtype float16, all matrix products in the transformer blocks use float16. With bfloat16, only the MLPs use
    bfloat16. The patch and positional embeddings, the residual stream, the normalisation layers and the softmax always
    use float32. The given module is not modified. Weights that need no conversion share memory with the given module.

    Args:
        visual: visual tower of an OpenCLIP model.
        pooling: source of the image embedding: `patch_mean` for the mean of the patch tokens, or `cls` for the class
            token.
        device: device that the network runs on.
        dtype: type of the matrix products, as described above: float32, float16 or bfloat16.

    Raises:
        WeightsError: `visual` is not an OpenCLIP ViT, or it has attention pooling, or one of its attention layers is
            not a torch.nn.MultiheadAttention.

    Source: CLIP-ES sec. 3.1, 3.3. Differs from the reference: on a GPU, the published program runs the whole network in
    float16. It rounds the positional embedding to float16 even on the CPU, where the rest of the network is float32.
    """

    def __init__(
        self,
        visual: Any,
        pooling: str = "patch_mean",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check_layout(visual)
        self.visual = _frozen(visual).to(device=device, dtype=torch.float32).eval()
        for block in self.visual.transformer.resblocks:
            block.mlp.to(dtype)
            if dtype == torch.float16:  # not for bfloat16: its 7-bit mantissa blurs the attention that CAA reads
                block.attn.to(dtype)
        self.pooling = pooling
        self.device = torch.device(device)
        self.patch_size = int(visual.conv1.kernel_size[0])
        self.mean = tuple(getattr(visual, "image_mean", None) or OPENAI_MEAN)
        self.std = tuple(getattr(visual, "image_std", None) or OPENAI_STD)

    @property
    def depth(self) -> int:
        """Return the number of transformer blocks."""
        return len(self.visual.transformer.resblocks)

    def pixels(self, image: Image.Image) -> torch.Tensor:
        """Resize a photo to whole patches, without cropping, and normalise its colours.

        Args:
            image: RGB photo.

        Returns:
            (3, H', W') float32 on the CPU; H' and W' are multiples of the patch size.
        """
        return torch.from_numpy(network_pixels(image, self.patch_size, self.mean, self.std)).permute(2, 0, 1)

    def encode(self, pixels: torch.Tensor, attention_blocks: int = 0) -> Encoded:
        """Encode a batch of photos, and keep the autograd graph of the last block only.

        Args:
            pixels: (B, 3, H', W') float32; H' and W' are multiples of the patch size.
            attention_blocks: N; the attention is averaged over the last N blocks. If N exceeds the depth, the
                attention is averaged over all blocks. If N is 0, no attention is computed.

        Returns:
            Features, embeddings and attention.

        Raises:
            ShapeError: `pixels` is not (B, 3, H', W'), or a side is not a multiple of the patch size.
            PhotoError: NOT_FINITE if the output for a photo contains NaN or infinity.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or any(side % self.patch_size for side in pixels.shape[2:]):
            raise ShapeError(
                f"pixels must be (B, 3, H, W), with H and W multiples of {self.patch_size}, got {tuple(pixels.shape)}"
            )
        grid_hw = (pixels.shape[2] // self.patch_size, pixels.shape[3] // self.patch_size)
        *first_blocks, last_block = self.visual.transformer.resblocks
        attention = _AttentionMean(min(attention_blocks, self.depth))
        with torch.no_grad():
            tokens = self._embed(pixels.to(self.device), grid_hw)
            for position, block in enumerate(first_blocks):
                wanted = self.depth - position <= attention_blocks
                tokens = _block(block, block.ln_1(tokens), tokens, attention.add if wanted else None)
            features = last_block.ln_1(tokens)
        features.requires_grad_(True)
        tokens = _block(last_block, features, tokens, attention.add if attention_blocks else None)
        encoded = Encoded(features, self._pool(tokens), attention.patches, grid_hw)
        for output in (encoded.features, encoded.embedding, encoded.attn_weights):
            if output is not None:
                check_finite(output.detach(), "the output of CLIP's image network", OF_CLIP)
        return encoded

    def _embed(self, pixels: torch.Tensor, grid_hw: tuple[int, int]) -> torch.Tensor:
        patches = self.visual.conv1(pixels).flatten(2).transpose(1, 2)
        class_token = self.visual.class_embedding.expand(len(patches), 1, -1)
        tokens = torch.cat([class_token, patches], dim=1)
        positions = resize_positional_embedding(self.visual.positional_embedding, self.visual.grid_size, grid_hw)
        return self.visual.ln_pre(tokens + positions)

    def _pool(self, tokens: torch.Tensor) -> torch.Tensor:
        pick = _class_token if self.pooling == "cls" else _patch_mean
        if self.visual.final_ln_after_pool:
            pooled = self.visual.ln_post(pick(tokens))
        else:
            pooled = pick(self.visual.ln_post(tokens))
        return pooled if self.visual.proj is None else pooled @ self.visual.proj


def resize_positional_embedding(
    embedding: torch.Tensor, native_hw: tuple[int, int], grid_hw: tuple[int, int]
) -> torch.Tensor:
    """Resize the patch part of a positional embedding to a different grid.

    Args:
        embedding: (1 + native h * native w, C), class token first.
        native_hw: numbers of rows and columns of patches in the network's training images.
        grid_hw: (h, w), numbers of rows and columns of patches in the result.

    Returns:
        (1 + h * w, C) float32, resized bilinearly with align_corners=False. The row of the class token is unchanged.
    """
    class_part, patch_part = embedding.float().split([1, len(embedding) - 1])
    native = patch_part.T.reshape(1, -1, *native_hw)
    resized = F.interpolate(native, grid_hw, mode="bilinear", align_corners=False)
    return torch.cat([class_part, resized.flatten(2)[0].T])


class _AttentionMean:
    """Computes the mean attention of several blocks. `add` receives the attention of one block, averaged over heads."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._sum: torch.Tensor | None = None

    def add(self, head_mean: torch.Tensor) -> None:
        self._sum = head_mean if self._sum is None else self._sum.add_(head_mean)

    @property
    def patches(self) -> torch.Tensor | None:
        """Return the (B, hw, hw) mean without the class token's row and column; None before the first `add`."""
        return None if self._sum is None else self._sum[:, 1:, 1:] / self._blocks


def _block(
    block: Any,
    normed: torch.Tensor,
    tokens: torch.Tensor,
    watch: Callable[[torch.Tensor], None] | None,
) -> torch.Tensor:
    """Run a residual block from the output of its ln_1 to its end.

    If `watch` is given, the function calls it with the block's attention, averaged over the heads.
    """
    q, k, v = _heads(block.attn, normed)
    if watch is None:
        mixed = F.scaled_dot_product_attention(q, k, v)
    elif torch.is_grad_enabled():
        mixed = F.scaled_dot_product_attention(q, k, v)
        with torch.no_grad():
            watch(_attention(q, k, v)[1])
    else:
        mixed, head_mean = _attention(q, k, v)
        watch(head_mean)
    mixed = block.attn.out_proj(mixed.transpose(1, 2).flatten(2))
    tokens = tokens + block.ls_1(mixed.float())
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens).to(block.mlp.c_fc.weight.dtype)).float())


def _heads(attn: torch.nn.MultiheadAttention, normed: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values, each (B, heads, N, C / heads)."""
    qkv = F.linear(normed.to(attn.in_proj_weight.dtype), attn.in_proj_weight, attn.in_proj_bias)
    return tuple(part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))


def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention, and the mean of the attention weights over the heads.

    The function processes a few heads at a time, to limit the memory for weights to about `ATTENTION_BYTES_AT_ONCE`.

    Returns:
        The attention's output, (B, heads, N, d), and the mean of the attention weights, (B, N, N) float32.
    """
    batch, heads, tokens, width = q.shape
    at_once = max(1, ATTENTION_BYTES_AT_ONCE.get(q.device.type, 64 << 20) // (4 * batch * tokens**2))
    total = q.new_zeros((batch, tokens, tokens), dtype=torch.float32)
    mixed = torch.empty_like(q)
    for part in torch.arange(heads).split(at_once):
        span = slice(int(part[0]), int(part[-1]) + 1)
        logits = (q[:, span] * width**-0.5) @ k[:, span].transpose(-1, -2)
        weights = logits.float().softmax(dim=-1)
        mixed[:, span] = weights.to(v.dtype) @ v[:, span]
        total += weights[:, 0] if at_once == 1 else weights.sum(dim=1)
    return mixed, total.div_(heads)


def _class_token(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 0]


def _patch_mean(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 1:].mean(dim=1)


def _frozen(visual: Any) -> Any:
    """Return a copy of the network whose weights require no gradients.

    The copy uses the memory of the original weights. A weight of the copy gets new memory only when it is converted.
    """
    shared = {id(weight): torch.nn.Parameter(weight.detach(), requires_grad=False) for weight in visual.parameters()}
    return copy.deepcopy(visual, shared)


def _check_layout(visual: Any) -> None:
    """Raise WeightsError if `Backbone` does not support the layout of `visual`."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    plain = (
        hasattr(visual, "conv1")
        and hasattr(visual, "class_embedding")
        and getattr(visual, "attn_pool", None) is None
        and blocks is not None
        and all(isinstance(getattr(block, "attn", None), torch.nn.MultiheadAttention) for block in blocks)
    )
    if not plain:
        raise WeightsError(
            "expected an OpenCLIP ViT with torch.nn.MultiheadAttention and without attention pooling, "
            f"got {type(visual).__name__}: "
            "choose a clip.model such as ViT-B-16-quickgelu, ViT-B-32-quickgelu or ViT-L-14-quickgelu"
        )
