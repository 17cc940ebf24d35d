import numpy as np
import pytest
import torch
from support.tiny_networks import tiny_visual

from clipes_core.backbones.vit import VitBackbone
from clipes_core.vit.last_block import has_closed_form
from clipes_core.vit.precision import PRECISIONS
from clipes_core.vit.split_linear import SplitLinear


def block_of(precision):
    return VitBackbone(tiny_visual(), precision=precision).visual.transformer.resblocks[0]


def test_bf16_changes_the_products_of_the_mlps_only():
    block = block_of("bf16")
    assert {type(block.mlp.c_fc), type(block.mlp.c_proj)} == {SplitLinear}
    assert {weight.dtype for weight in block.parameters()} == {torch.float32}
    assert type(block.attn.out_proj) is type(block_of("fp32").attn.out_proj)


def test_fast_has_bfloat16_weights_in_all_products():
    block = block_of("fast")
    products = (block.attn.in_proj_weight, block.attn.out_proj.weight, block.mlp.c_fc.weight, block.mlp.c_proj.weight)
    assert {weight.dtype for weight in products} == {torch.bfloat16}
    assert {weight.dtype for norm in (block.ln_1, block.ln_2) for weight in norm.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_precisions_have_the_closed_form(precision):
    assert has_closed_form(VitBackbone(tiny_visual(), precision=precision).visual, "patch_mean")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_of_each_precision_are_close_to_those_of_fp32(precision):
    photos_rgb = np.random.default_rng(1).integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)
    gradients = torch.randn(2, 16, generator=torch.Generator().manual_seed(2))
    exact, own = (
        VitBackbone(tiny_visual(), precision=each).encode(photos_rgb, 4).pull_back(gradients, [2])
        for each in ("fp32", precision)
    )
    tolerance = {"fp32": 0, "bf16": 1e-3, "fp16": 0.05, "fast": 0.2}[precision]
    assert own.dtype == torch.float32
    assert (own - exact).abs().max() <= tolerance * exact.abs().max()
