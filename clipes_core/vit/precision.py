"""The numerical precisions of the transformer blocks of CLIP's image network."""

from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import QuickGELU

from clipes_core.vit.split_linear import SplitLinear

QUICK_GELU = 1.702


@dataclass(frozen=True)
class Precision:
    """How the matrix products of a transformer block are computed.

    Attributes:
        dtype: type of the products in the attention layer and in the MLP. The residual stream, the normalisation
            layers and the softmax use float32 in every precision.
        splits_mlp: if true, `SplitLinear` replaces the layers of the MLP.
        folds_gelu: if true, and if the MLP has QuickGELU, x * sigmoid(1.702 x), then SiLU, x * sigmoid(x), between
            scaled weights replaces it. SiLU takes one pass over the memory instead of three. In float32, the result is
            the same. In half precision, the scaled weights are rounded to other values.
    """

    dtype: torch.dtype
    splits_mlp: bool = False
    folds_gelu: bool = True

    def convert(self, block: Any) -> None:
        """Convert the weights of a residual block of an OpenCLIP ViT, in place."""
        if self.folds_gelu:
            _fold_quick_gelu(block.mlp)
        block.attn.to(self.dtype)
        block.mlp.to(self.dtype)
        if self.splits_mlp:
            block.mlp.c_fc, block.mlp.c_proj = SplitLinear(block.mlp.c_fc), SplitLinear(block.mlp.c_proj)


PRECISIONS = {
    "fp32": Precision(torch.float32),
    "bf16": Precision(torch.float32, splits_mlp=True),  # rounded products would move the boxes of CAA
    "fp16": Precision(torch.float16, folds_gelu=False),
    "fast": Precision(torch.bfloat16),
}


def _fold_quick_gelu(mlp: Any) -> None:
    """Replace QuickGELU by SiLU between scaled weights."""
    if isinstance(mlp.gelu, QuickGELU):
        mlp.c_fc.weight, mlp.c_fc.bias = (_scaled(each, QUICK_GELU) for each in (mlp.c_fc.weight, mlp.c_fc.bias))
        mlp.c_proj.weight = _scaled(mlp.c_proj.weight, 1 / QUICK_GELU)
        mlp.gelu = torch.nn.SiLU(inplace=True)


def _scaled(weight: torch.nn.Parameter, factor: float) -> torch.nn.Parameter:
    return torch.nn.Parameter((weight.double() * factor).float(), requires_grad=False)
