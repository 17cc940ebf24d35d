"""CLIP's vision transformer (ViT): the features and the attention of its patches, and gradients of its last block."""

from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from typing_extensions import override

from clipes_core.backbones.backbone import Backbone, Encoded, resize_positional_embedding
from clipes_core.backbones.pull_back import by_autograd
from clipes_core.errors import WeightsError
from clipes_core.vit.last_block import has_closed_form, in_closed_form
from clipes_core.vit.precision import PRECISIONS
from clipes_core.vit.residual_block import run_block
from clipes_core.vit.timm_vit import TimmVit, is_timm, timm_problem


class VitBackbone(Backbone):
    """A plain ViT, of OpenCLIP or of timm, on one device.

    The features are the output of the last block's ln_1. `clipes_core.vit.precision` describes the precisions. In each
    of them, the patch and positional embeddings, the residual stream, the normalisation layers and the softmax use
    float32.

    Args:
        visual: visual tower of an OpenCLIP model that `accepts` accepts.
        pooling: source of the image embedding: `patch_mean` for the mean of the patch tokens, `cls` for the class
            token, or `attention` for a learned query that attends to the patch tokens.
        device: device that the network runs on.
        precision: precision of the matrix products: fp32, bf16, fp16 or fast.

    Raises:
        WeightsError: the network has no such image embedding.

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
        super().__init__(TimmVit(visual) if is_timm(visual) else visual, pooling, device, precision)
        self.patch_size = int(self.visual.conv1.kernel_size[0])
        self.depth = len(self.visual.transformer.resblocks)
        self._class_tokens = 0 if self.visual.class_embedding is None else 1
        possible = self._poolings()
        if pooling not in possible:
            raise WeightsError(
                f"clip.pooling {pooling}: the ViT of clip.model has no such image embedding; set clip.pooling to "
                f"{' or '.join(possible)}"
            )

    @classmethod
    @override
    def accepts(cls, visual: Any) -> bool:
        """Return whether a visual tower is a ViT of timm that `TimmVit` supports, or one of OpenCLIP.

        The latter must have torch's own attention, and no attention pooling.
        """
        if is_timm(visual):
            return timm_problem(visual) is None
        return (
            isinstance(visual, VisionTransformer)
            and visual.attn_pool is None
            and all(isinstance(block.attn, torch.nn.MultiheadAttention) for block in visual.transformer.resblocks)
        )

    def _poolings(self) -> tuple[str, ...]:
        """Return the values of `clip.pooling` that suit the network."""
        if getattr(self.visual, "map_pool", None) is not None:
            return ("attention",)
        return ("patch_mean", "cls") if self._class_tokens else ("patch_mean",)

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
        first = self._class_tokens
        features = normed[:, first:]
        if has_closed_form(self.visual, self.pooling):
            embedding, pull_back = in_closed_form(self.visual, normed, tokens, attention_sum)
        else:
            embedding, pull_back = by_autograd(
                lambda leaf: self._pool(
                    run_block(last_block, torch.cat([normed[:, :first], leaf], dim=1), tokens, attention_sum)
                ),
                features,
            )
        attn_weights = None if attention_sum is None else attention_sum[:, first:, first:] / blocks
        return Encoded(features, embedding, attn_weights, grid_hw, pull_back)

    def _embed(self, pixels: torch.Tensor, grid_hw: tuple[int, int]) -> torch.Tensor:
        visual = self.visual
        tokens = visual.conv1(pixels).flatten(2).transpose(1, 2)
        if self._class_tokens:
            tokens = torch.cat([visual.class_embedding.expand(len(tokens), 1, -1), tokens], dim=1)
        embedding, native_hw = visual.positional_embedding, visual.grid_size
        positions = resize_positional_embedding(embedding, native_hw, grid_hw, self._class_tokens)
        return visual.ln_pre(tokens + positions)

    def _pool(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.visual.final_ln_after_pool:
            pooled = self.visual.ln_post(self._picked(tokens))
        else:
            pooled = self._picked(self.visual.ln_post(tokens))
        embedding = pooled if self.visual.proj is None else pooled @ self.visual.proj
        bias = getattr(self.visual, "proj_bias", None)
        return embedding if bias is None else embedding + bias

    def _picked(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.pooling == "cls":
            return tokens[:, 0]
        patches = tokens[:, self._class_tokens :]
        return self.visual.map_pool(patches) if self.pooling == "attention" else patches.mean(dim=1)
