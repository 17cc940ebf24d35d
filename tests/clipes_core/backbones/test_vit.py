import math

import numpy as np
import open_clip
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from support import oracle
from support.tiny_networks import normalised, tiny_visual
from torch.overrides import TorchFunctionMode

from clipes_core.backbones.backbone import OPENAI_MEAN, OPENAI_STD, resize_positional_embedding
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import WeightsError
from clipes_core.vit.precision import PRECISIONS


def random_tensor(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def random_photos(count, height, width):
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


PATCHES = torch.tensor([0.0, 1, 1, 1, 1, 1, 1])[:, None]  # selects 6 patches, but not the class token


def random_photo(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


VARIANTS = {
    "quick gelu": {},
    "gelu": {"act_layer": torch.nn.GELU},
    "layer scale": {"ls_init_value": 0.5},
    "no ln_pre": {"no_ln_pre": True},
    "norm after pooling": {"final_ln_after_pool": True},
    "one head of 64": {"heads": 1},
    "narrow mlp": {"mlp_ratio": 1.5},
    "patch 16": {"patch_size": 16},
    "wide grid": {"image_size": (16, 48)},
    "tall grid": {"image_size": (40, 8)},
    "one block": {"layers": 1},
}


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_embeddings_equal_those_of_open_clip(variant, pooling):
    visual = tiny_visual(**VARIANTS[variant], pool_type={"cls": "tok", "patch_mean": "avg"}[pooling])
    photos_rgb = random_photos(2, *visual.image_size)
    encoded = VitBackbone(visual, pooling).encode(photos_rgb)
    assert encoded.grid_hw == visual.grid_size
    with torch.no_grad():
        assert_allclose(encoded.embedding.detach(), visual(normalised(photos_rgb)), rtol=1e-4, atol=1e-4)


def test_an_embedding_without_projection_is_the_pooled_token():
    visual = tiny_visual()
    visual.proj = None
    photos_rgb = random_photos(1, 32, 32)
    with torch.no_grad():
        assert_allclose(
            VitBackbone(visual, "cls").encode(photos_rgb).embedding,
            visual(normalised(photos_rgb)),
            rtol=1e-4,
            atol=1e-4,
        )


def test_a_vit_with_a_class_token_has_no_attention_pooling():
    with pytest.raises(WeightsError, match=r"^clip\.pooling attention: .*; set clip\.pooling to patch_mean or cls$"):
        VitBackbone(tiny_visual(), "attention")


@pytest.mark.parametrize("side_hw", [(32, 32), (200, 208), (256, 256)])
@pytest.mark.parametrize("blocks", [1, 3, 4, 9])
def test_attention_is_the_mean_over_heads_and_last_blocks(side_hw, blocks):
    # 16, 650 and 1024 patches: on a CPU, heads are computed three at once, two and one, or one at a time
    visual = tiny_visual(width=96, heads=3)
    backbone = VitBackbone(visual)
    photos_rgb = random_photos(1, *side_hw)
    encoded = backbone.encode(photos_rgb, attention_blocks=blocks)
    grid_h, grid_w = encoded.grid_hw
    assert encoded.attn_weights.shape == (1, grid_h * grid_w, grid_h * grid_w)
    assert not encoded.attn_weights.requires_grad
    expected = open_clip_attention(visual, backbone, photos_rgb)[-blocks:]
    assert_allclose(encoded.attn_weights[0], torch.stack(expected).mean(dim=0), rtol=1e-3, atol=1e-6)


def open_clip_attention(visual, backbone, photos_rgb):
    """Return the (n, n) attention between patches of each block, from torch's own attention module."""
    positions = resize_positional_embedding(
        visual.positional_embedding, visual.grid_size, grid_of(backbone, photos_rgb)
    )
    seen = []
    with torch.no_grad():
        patches = visual.conv1(normalised(photos_rgb)).flatten(2).transpose(1, 2)
        tokens = torch.cat([visual.class_embedding.expand(1, 1, -1), patches], dim=1)
        tokens = visual.ln_pre(tokens + positions)
        for block in visual.transformer.resblocks:
            normed = block.ln_1(tokens)
            seen.append(block.attn(normed, normed, normed, need_weights=True)[1][0, 1:, 1:])
            tokens = block(tokens)
    return seen


def grid_of(backbone, photos_rgb):
    return tuple(side // backbone.patch_size for side in photos_rgb.shape[1:3])


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
def test_features_and_attention_of_a_small_clip_equal_those_of_the_oracle(seeded_weights, large_scene, pooling):
    model = oracle.oracle_model(seeded_weights)
    photo = large_scene.resize((150, 100))
    backbone = VitBackbone(model.visual, pooling)
    encoded = backbone.encode(oracle.view_pixels(photo, 1.0, 16, mirrored=False)[None], attention_blocks=8)
    seen = oracle.visual_pass(model, oracle.view_pixels(photo, 1.0, 16, mirrored=False), pooling)
    assert_allclose(encoded.features[0], seen.patches.detach(), atol=1e-4)
    assert_allclose(encoded.embedding.detach()[0], seen.embedding.detach(), rtol=1e-4, atol=1e-4)
    assert_allclose(encoded.attn_weights[0], torch.stack(seen.attentions[-8:]).mean(dim=0), rtol=1e-3, atol=1e-6)


def test_a_batch_equals_its_photos_one_by_one():
    backbone, photos_rgb = VitBackbone(tiny_visual()), random_photos(3, 40, 24)
    batch = backbone.encode(photos_rgb, attention_blocks=2)
    singles = [backbone.encode(photos_rgb[i : i + 1], attention_blocks=2) for i in range(3)]
    for name in ("features", "embedding", "attn_weights"):
        expected = torch.cat([getattr(single, name).detach() for single in singles])
        assert_allclose(getattr(batch, name).detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_patch_size_and_the_depth_are_read_from_the_network():
    backbone = VitBackbone(tiny_visual(patch_size=16, layers=3))
    assert (backbone.patch_size, backbone.depth) == (16, 3)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("mean", "std"), [(OPENAI_MEAN, OPENAI_STD), ((0.5, 0.25, 0.0), (0.5, 1.0, 2.0))])
def test_the_patch_embedding_normalises_the_colours(mean, std, bias):
    visual, photos_rgb = tiny_visual(), random_photos(2, 24, 16)
    visual.image_mean, visual.image_std = mean, std
    if bias:
        visual.conv1.bias = torch.nn.Parameter(random_tensor(64))
    seen = []
    backbone = VitBackbone(visual)
    backbone.visual.conv1.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    backbone.encode(photos_rgb)
    with torch.no_grad():
        expected = visual.double().conv1(normalised(photos_rgb, mean, std).double())
    assert_allclose(seen[0], expected, atol=2e-6 * float(expected.abs().max()))


def test_the_preprocessing_of_open_clip_is_read():
    model = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-32") | small_sizes())
    open_clip.model.set_model_preprocess_cfg(model, {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 3.0)})
    photos_rgb = random_photos(1, 16, 16)
    with torch.no_grad():
        expected = model.visual(normalised(photos_rgb, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)))
    assert_allclose(VitBackbone(model.visual, "cls").encode(photos_rgb).embedding, expected, rtol=1e-4, atol=1e-5)


def small_sizes():
    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 16, "width": 64, "heads": 1, "layers": 1}
    return {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}


@pytest.mark.parametrize(("pooling", "last"), [("cls", True), ("patch_mean", False)])
def test_at_most_the_last_block_keeps_a_graph(pooling, last):
    backbone = VitBackbone(tiny_visual(), pooling)
    with_graph = []
    for block in backbone.visual.transformer.resblocks:
        block.mlp.c_fc.register_forward_hook(lambda _module, _inputs, output: with_graph.append(output.requires_grad))
    encoded = backbone.encode(random_photos(2, 32, 32), attention_blocks=4)
    assert with_graph == [False, False, False, last]
    assert not any(each.requires_grad for each in (encoded.features, encoded.embedding, encoded.attn_weights))
    assert encoded.features.shape == (2, 16, 64)


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
def test_gradients_equal_finite_differences(pooling):
    backbone = VitBackbone(tiny_visual(), pooling)
    encoded = backbone.encode(random_photos(1, 16, 24))
    gradient, change = torch.eye(16)[:1], 0.05 * random_tensor(64)
    pulled = encoded.pull_back(gradient, [1])[0]
    norm = backbone.visual.transformer.resblocks[-1].ln_1
    moved = []
    for side in (1, -1):
        hook = norm.register_forward_hook(lambda _module, _inputs, output, side=side: output + side * change * PATCHES)
        moved.append(backbone.encode(random_photos(1, 16, 24)).embedding[0, 0])
        hook.remove()
    # all 6 patches move by `change`, so the embedding moves by the sum of their gradients
    assert_allclose((moved[0] - moved[1]) / 2, 6 * pulled @ change, rtol=0.01)


class AttentionCalls(TorchFunctionMode):
    """A counter of calls of fused attention (`fused`) and of softmaxes that expose weights (`shown`)."""

    def __init__(self):
        super().__init__()
        self.fused = self.shown = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.fused += function is torch.nn.functional.scaled_dot_product_attention
        self.shown += function is torch.Tensor.softmax
        return function(*args, **kwargs or {})


@pytest.mark.parametrize(("blocks", "shown", "fused"), [(0, 0, 4), (1, 1, 3), (3, 3, 1), (4, 4, 0), (40, 4, 0)])
@pytest.mark.parametrize("pooling", ["patch_mean", "cls"])
def test_only_the_requested_blocks_expose_attention_weights(blocks, shown, fused, pooling):
    fused += pooling == "cls" and blocks > 0  # with autograd, the last block also runs fused attention
    with AttentionCalls() as calls:
        encoded = VitBackbone(tiny_visual(), pooling).encode(random_photos(1, 32, 32), attention_blocks=blocks)
    assert (calls.shown, calls.fused) == (shown, fused)
    assert (encoded.attn_weights is None) == (blocks == 0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_given_network_is_not_modified(precision):
    visual = tiny_visual().train().requires_grad_()
    before = {name: weight.clone() for name, weight in visual.state_dict().items()}
    backbone, photos_rgb = VitBackbone(visual, precision=precision), random_photos(1, 32, 32)
    given = photos_rgb.copy()
    encoded = backbone.encode(photos_rgb, attention_blocks=2)
    encoded.pull_back(torch.ones(1, 16), [1])
    assert all(torch.equal(weight, before[name]) for name, weight in visual.state_dict().items())
    assert {weight.dtype for weight in visual.parameters()} == {torch.float32}
    assert all(weight.requires_grad and weight.grad is None for weight in visual.parameters())
    assert visual.training
    assert not backbone.visual.training
    assert np.array_equal(photos_rgb, given)


def test_weights_that_need_no_conversion_are_shared():
    visual = tiny_visual(act_layer=torch.nn.GELU)
    for precision, shared in (("fp32", True), ("fast", False)):
        backbone = VitBackbone(visual, precision=precision)
        assert backbone.visual.ln_pre.weight.data_ptr() == visual.ln_pre.weight.data_ptr()
        last, given = (network.transformer.resblocks[-1].mlp.c_fc.weight for network in (backbone.visual, visual))
        assert (last.data_ptr() == given.data_ptr()) == shared


def test_encoding_is_deterministic_and_keeps_the_random_state():
    backbone, photos_rgb = VitBackbone(tiny_visual(patch_dropout=0.5).train()), random_photos(1, 32, 32)
    before = torch.random.get_rng_state()
    first, second = (backbone.encode(photos_rgb).embedding for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("precision", "dtype"), [("fast", torch.bfloat16), ("fp16", torch.float16)])
def test_only_weights_of_matrix_products_have_half_precision(precision, dtype):
    visual = VitBackbone(tiny_visual(), precision=precision).visual
    in_half = {name for name, weight in visual.named_parameters() if weight.dtype == dtype}
    blocks = {name for name, _ in visual.named_parameters() if "resblocks" in name}
    assert in_half == {name for name in blocks if ".mlp." in name or ".attn." in name}
    assert {weight.dtype for name, weight in visual.named_parameters() if name not in in_half} == {torch.float32}


@pytest.mark.parametrize(("precision", "atol"), [("fast", 0.1), ("fp16", 0.01)])
def test_only_matrix_products_run_in_half_precision(precision, atol):
    visual, photos_rgb = tiny_visual(), random_photos(1, 40, 40)
    exact, half = (VitBackbone(visual, precision=each).encode(photos_rgb, 4) for each in ("fp32", precision))
    assert {half.features.dtype, half.embedding.dtype, half.attn_weights.dtype} == {torch.float32}
    embedding = exact.embedding.detach()
    assert_allclose(half.embedding.detach(), embedding, atol=atol * float(embedding.std()))
    assert_allclose(half.attn_weights.sum(dim=2), exact.attn_weights.sum(dim=2), atol=0.01)
    assert not torch.equal(half.embedding, exact.embedding)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_attention_of_very_peaked_heads_stays_finite(precision):
    visual = tiny_visual(heads=1)
    with torch.no_grad():
        visual.transformer.resblocks[-1].attn.in_proj_weight *= 30
    encoded = VitBackbone(visual, precision=precision).encode(random_photos(1, 40, 40), attention_blocks=1)
    assert encoded.attn_weights.isfinite().all()
    assert math.isclose(encoded.attn_weights.max(), 1, abs_tol=1e-3)
