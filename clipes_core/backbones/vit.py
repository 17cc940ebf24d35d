"""CLIP's vision transformer (ViT): the features and the attention of its patches, and gradients of its last block."""

from typing import Any

import torch
from typing_extensions import override

from clipes_core.backbones.backbone import Backbone, Encoded, resize_positional_embedding
from clipes_core.backbones.pull_back import by_autograd
from clipes_core.vit.last_block import has_closed_form, in_closed_form
from clipes_core.vit.precision import PRECISIONS
from clipes_core.vit.residual_block import run_block


class VitBackbone(Backbone):
    """The visual tower of an OpenCLIP ViT, on one device.

    The features are the output of the last block's ln_1. `clipes_core.vit.precision` describes the precisions. In each
    of them, the patch and positional embeddings, the residual stream, the normalisation layers and the softmax use
    float32.

    Args:
        visual: visual tower of an OpenCLIP model that `accepts` accepts.
        pooling: source of the image embedding: `patch_mean` for the mean of the patch tokens, or `cls` for the class
            token.
        device: device that the network runs on.
        precision: precision of the matrix products: fp32, bf16, fp16 or fast.

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
        super().__init__(visual, pooling, device, precision)
        self.patch_size = int(visual.conv1.kernel_size[0])
        self.depth = len(self.visual.transformer.resblocks)

    @classmethod
    @override
    def accepts(cls, visual: Any) -> bool:
        """Return whether a visual tower is an OpenCLIP ViT without attention pooling, with torch's own attention."""
        blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
        return (
            hasattr(visual, "conv1")
            and hasattr(visual, "class_embedding")
            and getattr(visual, "attn_pool", None) is None
            and blocks is not None
            and all(isinstance(getattr(block, "attn", None), torch.nn.MultiheadAttention) for block in blocks)
        )

    @override
    def _convert(self, precision: str) -> None:
        for block in self.visual.transformer.resblocks:
            PRECISIONS[precision].convert(block)

    @override
    def _encode(self, pixels: torch.Tensor, grid_hw: tuple[int, int], blocks: int) -> Encoded:
        *first_blocks, last_block = self.visual.transformer.resblocks
        tokens = self._embed(pixels, grid_hw)
        attention_sum = tokens.new_zeros((len(tokens), *2 * tokens.shape[1:2])) if blocks else None
        for position, block in enumerate(first_blocks):
            wanted = self.depth - position <= blocks
            tokens = run_block(block, block.ln_1(tokens), tokens, attention_sum if wanted else None)
        normed = last_block.ln_1(tokens)
        features = normed[:, 1:]
        if has_closed_form(self.visual, self.pooling):
            embedding, pull_back = in_closed_form(self.visual, normed, tokens, attention_sum)
        else:
            embedding, pull_back = by_autograd(
                lambda leaf: self._pool(
                    run_block(last_block, torch.cat([normed[:, :1], leaf], dim=1), tokens, attention_sum)
                ),
                features,
            )
        attn_weights = None if attention_sum is None else attention_sum[:, 1:, 1:] / blocks
        return Encoded(features, embedding, attn_weights, grid_hw, pull_back)

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


def _class_token(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 0]


def _patch_mean(tokens: torch.Tensor) -> torch.Tensor:
    return tokens[:, 1:].mean(dim=1)
