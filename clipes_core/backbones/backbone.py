"""What all of CLIP's image networks offer: the features of patches, their attention, and gradients for Grad-CAM."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clipes_core.backbones.pull_back import PullBack
from clipes_core.device import upload
from clipes_core.errors import ShapeError

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Encoded:
    """The network's output for a batch of photos.

    Attributes:
        features: (B, hw, C) float32, the A of CLIP-ES eq. (2), patch by patch, row by row of the grid. The class token
            of a ViT is not among them.
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


class Backbone(ABC):
    """The image network of a CLIP, on one device.

    A subclass supports one kind of network. The given module is not modified. Weights that need no conversion share
    memory with the given module.

    Args:
        visual: visual tower of an OpenCLIP model.
        pooling: source of the image embedding; each kind lists its own.
        device: device that the network runs on.
        precision: precision of the matrix products: fp32, bf16, fp16 or fast.

    Attributes:
        visual: the frozen network.
        patch_size: side [px] of the square of pixels that one feature stands for. The sides of photos are multiples of
            it.
        depth: number of blocks whose attention between patches `encode` can return.
    """

    patch_size: int
    depth: int

    def __init__(self, visual: Any, pooling: str, device: torch.device | str = "cpu", precision: str = "fp32") -> None:
        self.visual = _frozen(visual).float().eval()
        self._convert(precision)
        self.visual.to(device)  # after the conversion, because it needs float64, which mps does not support
        self.pooling = pooling
        self.device = torch.device(device)
        mean, std = getattr(visual, "image_mean", None), getattr(visual, "image_std", None)
        self._mean, self._std = (
            torch.tensor(each)[:, None, None].to(device) for each in (mean or OPENAI_MEAN, std or OPENAI_STD)
        )

    @classmethod
    @abstractmethod
    def accepts(cls, visual: Any) -> bool:
        """Return whether this class supports the visual tower of an OpenCLIP model."""

    @torch.no_grad()
    def encode(self, photos_rgb: np.ndarray, attention_blocks: int = 0) -> Encoded:
        """Encode a batch of photos, and keep what the gradients of the last layer need.

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
        pixels = (upload(photos_rgb, self.device).permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
        return self._encode(pixels, grid_hw, min(attention_blocks, self.depth))

    @abstractmethod
    def _convert(self, precision: str) -> None:
        """Convert the weights of the network to a precision, in place."""

    @abstractmethod
    def _encode(self, pixels: torch.Tensor, grid_hw: tuple[int, int], blocks: int) -> Encoded:
        """Encode normalised pixels, (B, 3, H', W') float32, with the attention of the last `blocks` blocks."""


def resize_positional_embedding(
    embedding: torch.Tensor, native_hw: tuple[int, int], grid_hw: tuple[int, int], class_tokens: int = 1
) -> torch.Tensor:
    """Resize the patch part of a positional embedding to a different grid.

    Args:
        embedding: (P + native h * native w, C); the first P rows belong to tokens that stand for the whole photo.
        native_hw: numbers of rows and columns of patches in the network's training images.
        grid_hw: (h, w), numbers of rows and columns of patches in the result.
        class_tokens: P, 0 or 1.

    Returns:
        (P + h * w, C) float32, resized bilinearly with align_corners=False. The first P rows are unchanged.
    """
    class_part, patch_part = embedding.float().split([class_tokens, len(embedding) - class_tokens])
    native = patch_part.T.reshape(1, -1, *native_hw)
    resized = F.interpolate(native, grid_hw, mode="bilinear", align_corners=False)
    return torch.cat([class_part, resized.flatten(2)[0].T])


def _frozen(visual: Any) -> Any:
    """Return a copy of the network whose weights require no gradients.

    The copy uses the memory of the original weights. A weight of the copy gets new memory only when it is converted.
    """
    shared = {id(weight): torch.nn.Parameter(weight.detach(), requires_grad=False) for weight in visual.parameters()}
    return copy.deepcopy(visual, shared)
