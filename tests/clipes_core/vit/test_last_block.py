import pytest
import torch
from numpy.testing import assert_allclose
from support.tiny_networks import tiny_visual

from clipes_core.backbones.pull_back import by_autograd
from clipes_core.backbones.vit import VitBackbone
from clipes_core.vit.last_block import has_closed_form, in_closed_form
from clipes_core.vit.residual_block import run_block


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=["fp32", "fp16"])
def visual(request):
    """Return a network in float64, so that only mistakes differ, and no rounding. With fp16, it keeps QuickGELU."""
    return VitBackbone(tiny_visual(), precision=request.param).visual.double()


def both_ways(visual, batch, patches, blocks=False):
    """Return embedding, pull-back and attention, first in closed form and then with autograd."""
    features, tokens = random(batch, 1 + patches, 64, seed=1), random(batch, 1 + patches, 64, seed=2)
    sums = [torch.zeros(batch, 1 + patches, 1 + patches, dtype=torch.float64) if blocks else None for _ in range(2)]
    block = visual.transformer.resblocks[-1]

    def embed(leaf):
        normed = torch.cat([features[:, :1], leaf], dim=1)
        pooled = visual.ln_post(run_block(block, normed, tokens, sums[1]))[:, 1:].mean(dim=1)
        return pooled if visual.proj is None else pooled @ visual.proj

    with torch.no_grad():
        closed = in_closed_form(visual, features, tokens, sums[0])
    return (*closed, sums[0]), (*by_autograd(embed, features[:, 1:]), sums[1])


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize(("counts", "patches"), [([1], 1), ([1], 16), ([3, 3], 12), ([7, 1, 1], 5), ([2, 1, 2], 5)])
def test_the_closed_form_equals_autograd(visual, counts, patches, blocks):
    (embedding, pull_back, attention), (expected, by_graph, expected_attention) = both_ways(
        visual, len(counts), patches, blocks
    )
    assert_allclose(embedding, expected, rtol=1e-12)
    given = random(sum(counts), 16, seed=3)
    found = by_graph(given, counts)
    assert_allclose(pull_back(given, counts), found, rtol=1e-9, atol=1e-12 * found.abs().max())
    assert found.shape == (sum(counts), 64)
    if blocks:
        assert_allclose(attention, expected_attention, rtol=1e-12)


@pytest.mark.parametrize("way", [0, 1])
def test_flattened_gradients_equal_those_pulled_back_one_at_a_time(visual, way):
    counts = [1, 3, 3, 2]
    pull_back, given = both_ways(visual, 4, 6)[way][1], random(9, 16, seed=3)
    found = pull_back(given, counts)
    photos = [photo for photo, count in enumerate(counts) for _ in range(count)]
    for place, photo in enumerate(photos):
        alone = torch.zeros(4, 16, dtype=torch.float64)
        alone[photo] = given[place]
        expected = pull_back(alone, [1] * 4)[photo]
        assert_allclose(found[place], expected, rtol=1e-9, atol=1e-12 * expected.abs().max())


def test_the_closed_form_needs_no_projection(visual):
    visual.proj = None
    (embedding, pull_back, _), (expected, by_graph, _) = both_ways(visual, 2, 9)
    given = random(4, 64, seed=3)
    found = by_graph(given, [2, 2])
    assert_allclose(embedding, expected, rtol=1e-12)
    assert_allclose(pull_back(given, [2, 2]), found, rtol=1e-9, atol=1e-12 * found.abs().max())


def test_large_photos_are_processed_in_parts(visual, monkeypatch):
    (_, whole, _), _ = both_ways(visual, 2, 40)
    given, counts = random(4, 16, seed=3), [2, 2]
    expected_gradients = whole(given, counts)
    for size in (1, 4 * 2 * 41 * 7, 4 * 2 * 41 * 41):  # one row, seven rows, and all rows of one head at once
        monkeypatch.setattr("clipes_core.vit.residual_block.PART_BYTES", {"cpu": size})
        (_, in_parts, attention), (_, _, expected) = both_ways(visual, 2, 40, blocks=True)
        atol = 1e-12 * expected_gradients.abs().max()
        assert_allclose(in_parts(given, counts), expected_gradients, rtol=1e-9, atol=atol)
        assert_allclose(attention.sum(dim=2), torch.ones(2, 41), rtol=1e-9)
        assert_allclose(attention, expected, rtol=1e-9)


def test_a_gradient_can_be_pulled_back_again_and_is_not_changed(visual):
    for _, pull_back, _ in both_ways(visual, 1, 9):
        given = random(2, 16, seed=3)
        before = given.clone()
        first = pull_back(given, [2])
        assert torch.equal(pull_back(given, [2]), first)
        assert torch.equal(given, before)
        assert_allclose(pull_back(2 * given, [2]), 2 * first, rtol=1e-9, atol=1e-15)
        assert not pull_back(0 * given, [2]).any()
        assert not first.requires_grad


@pytest.mark.parametrize(
    ("changes", "pooling", "closed"),
    [
        ({}, "patch_mean", True),
        ({}, "cls", False),
        ({"act_layer": torch.nn.GELU}, "patch_mean", False),
        ({"ls_init_value": 0.5}, "patch_mean", False),
        ({"final_ln_after_pool": True}, "patch_mean", False),
    ],
)
def test_other_layouts_need_autograd(changes, pooling, closed):
    assert has_closed_form(VitBackbone(tiny_visual(**changes), pooling).visual, pooling) is closed


def test_fp16_rounds_the_given_weights():
    visual = tiny_visual()
    half = VitBackbone(visual, precision="fp16").visual
    given, own = (each.transformer.resblocks[0].mlp.c_fc.weight for each in (visual, half))
    assert torch.equal(own, given.half())
