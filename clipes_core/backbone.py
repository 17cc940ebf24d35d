"""CLIP's image network, with access to its patch features, its attention and the gradients of its last block."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clipes_core.device import upload
from clipes_core.errors import ShapeError, WeightsError
from clipes_core.vit.last_block import PullBack, by_autograd, has_closed_form, in_closed_form
from clipes_core.vit.precision import PRECISIONS
from clipes_core.vit.residual_block import run_block

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Encoded:
    """The network's output for a batch of photos.

    Attributes:
        features: (B, 1 + hw, C) float32, output of the last block's ln_1: the class token, then the patches. The
            patches are the A of CLIP-ES eq. (2).
        embedding: (B, D) float32 image embeddings before L2 normalisation.
        attn_weights: (B, hw, hw) float32 attention between patches, averaged over all heads of the requested
            blocks; rows are queries. None if no attention was requested.
        grid_hw: (h, w), numbers of rows and columns of patches.
        pull_back: turns gradients of scores with respect to the embeddings into the means over the patches of the
            gradients with respect to the features; see `PullBack`.
    """

    features: torch.Tensor
    embedding: torch.Tensor
    attn_weights: torch.Tensor | None
    grid_hw: tuple[int, int]
    pull_back: PullBack


class Backbone:
    """The visual tower of an OpenCLIP ViT, on one device.

    `clipes_core.vit.precision` describes the precisions. In each of them, the patch and positional embeddings, the
    residual stream, the normalisation layers and the softmax use float32. The given module is not modified. Weights
    that need no conversion share memory with the given module.

    Args:
        visual: visual tower of an OpenCLIP model.
        pooling: source of the image embedding: `patch_mean` for the mean of the patch tokens, or `cls` for the class
            token.
        device: device that the network runs on.
        precision: precision of the matrix products: fp32, bf16, fp16 or fast.

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
        precision: str = "fp32",
    ) -> None:
        _check_layout(visual)
        self.visual = _frozen(visual).float().eval()
        for block in self.visual.transformer.resblocks:
            PRECISIONS[precision].convert(block)
        self.visual.to(device)  # after the conversion, because it needs float64, which mps does not support
        self.pooling = pooling
        self.device = torch.device(device)
        mean, std = getattr(visual, "image_mean", None), getattr(visual, "image_std", None)
        self._mean, self._std = (
            torch.tensor(each)[:, None, None].to(device) for each in (mean or OPENAI_MEAN, std or OPENAI_STD)
        )
        self.patch_size = int(visual.conv1.kernel_size[0])

    @property
    def depth(self) -> int:
        """Return the number of transformer blocks."""
        return len(self.visual.transformer.resblocks)

    @torch.no_grad()
    def encode(self, photos_rgb: np.ndarray, attention_blocks: int = 0) -> Encoded:
        """Encode a batch of photos, and keep the activations of the last block for the gradients.

        Args:
            photos_rgb: (B, H', W', 3) uint8 RGB, [0, 255]; H' and W' are multiples of the patch size.
            attention_blocks: N; the attention is averaged over the last N blocks. If N exceeds the depth, the
                attention is averaged over all blocks. If N is 0, no attention is computed.

        Returns:
            Features, embeddings and attention. They are not finite if the weights are damaged, or if a number is too
            large for the dtype; `clipes_core.finite.check_finite` finds this in a result on the host.

        Raises:
            ShapeError: `photos_rgb` is not (B, H', W', 3) uint8, or a side is not a multiple of the patch size.
        """
        shape = photos_rgb.shape
        if photos_rgb.dtype != np.uint8 or shape[3:] != (3,) or any(side % self.patch_size for side in shape[1:3]):
            raise ShapeError(
                f"photos_rgb must be (B, H, W, 3) uint8, with H and W multiples of {self.patch_size}, "
                f"got {shape} {photos_rgb.dtype}"
            )
        grid_hw = (shape[1] // self.patch_size, shape[2] // self.patch_size)
        *first_blocks, last_block = self.visual.transformer.resblocks
        blocks = min(attention_blocks, self.depth)
        tokens = self._embed(upload(photos_rgb, self.device), grid_hw)
        attention_sum = tokens.new_zeros((len(tokens), *2 * tokens.shape[1:2])) if blocks else None
        for position, block in enumerate(first_blocks):
            wanted = self.depth - position <= blocks
            tokens = run_block(block, block.ln_1(tokens), tokens, attention_sum if wanted else None)
        features = last_block.ln_1(tokens)
        if has_closed_form(self.visual, self.pooling):
            embedding, pull_back = in_closed_form(self.visual, features, tokens, attention_sum)
        else:
            embedding, pull_back = by_autograd(
                lambda leaf: self._pool(run_block(last_block, leaf, tokens, attention_sum)), features
            )
        attn_weights = None if attention_sum is None else attention_sum[:, 1:, 1:] / blocks
        return Encoded(features, embedding, attn_weights, grid_hw, pull_back)

    def _embed(self, photos_rgb: torch.Tensor, grid_hw: tuple[int, int]) -> torch.Tensor:
        pixels = (photos_rgb.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
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
