import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from support import oracle

from clipes_core.affinity import Attention, box_mask, caa, mhsa, sinkhorn
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.errors import ShapeError

# Attention between the four patches of a 2 x 2 grid; rows are queries.
ATTENTION = torch.tensor(
    [
        [4.0, 2.0, 1.0, 1.0],
        [0.0, 5.0, 2.0, 1.0],
        [3.0, 0.0, 4.0, 1.0],
        [1.0, 1.0, 1.0, 5.0],
    ]
)
EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)


def refine_cams(cams, attention, masks, sinkhorn_rounds, power):
    """Apply eq. (6), then eq. (7), to the CAMs of one photo."""
    return Attention(attention[None], [len(cams)]).spread((cams * masks).numpy(), sinkhorn_rounds, power)


def peaked_attention(patches, seed=0):
    logits = 3 * torch.randn(patches, patches, generator=torch.Generator().manual_seed(seed))
    return logits.softmax(dim=1)


def drawn(*rows):
    """Return a CAM from its drawing: # is 1, + is 0.5, . is 0."""
    return np.array([[{"#": 1.0, "+": 0.5, ".": 0.0}[cell] for cell in row] for row in rows], dtype=np.float32)


def boxes(cam, threshold=0.4):
    return ["".join(".#"[int(cell)] for cell in row) for row in box_mask(cam, threshold)]


def test_sinkhorn_divides_by_column_sums_then_by_row_sums():
    # columns sum to 4, 4: (1/4, 1/2; 3/4, 1/2); rows then to 3/4, 5/4
    once = sinkhorn(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), rounds=1)
    assert_allclose(once, [[1 / 3, 2 / 3], [3 / 5, 2 / 5]], rtol=1e-6)
    # columns sum to 14/15, 16/15: (5/14, 5/8; 9/14, 3/8); rows then to 55/56, 57/56
    twice = sinkhorn(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), rounds=2)
    assert_allclose(twice, [[20 / 55, 35 / 55], [36 / 57, 21 / 57]], rtol=1e-6)


def test_sinkhorn_without_rounds_returns_the_attention():
    assert torch.equal(sinkhorn(ATTENTION, rounds=0), ATTENTION)


def test_sinkhorn_converges_to_a_doubly_stochastic_matrix():
    # The limit (a, 1 - a; 1 - a, a) keeps the ratio of the diagonals' products: (a / (1 - a))^2 = 1 * 2 / (2 * 3).
    limit = sinkhorn(torch.tensor([[1.0, 2.0], [3.0, 2.0]], dtype=torch.float64), rounds=60)
    a = 1 / (1 + math.sqrt(3))
    assert_allclose(limit, [[a, 1 - a], [1 - a, a]], rtol=1e-12)


def test_rows_sum_to_one_after_sinkhorn_and_columns_approach_one_each_round():
    off = []
    for rounds in (1, 2, 3, 10):
        d = sinkhorn(peaked_attention(12), rounds)
        assert_allclose(d.sum(dim=1), np.ones(12), rtol=1e-5)
        off.append(float((d.sum(dim=0) - 1).abs().max()))
    assert off == sorted(off, reverse=True)
    assert off[0] > 0.1 > 0.01 > off[-1]


def test_sinkhorn_keeps_rows_and_columns_of_zeros():
    unseen = sinkhorn(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), rounds=3)
    assert_allclose(unseen, [[1, 0], [1, 0]], rtol=1e-6)
    # columns sum to 3, 1: (1, 1; 0, 0)
    blind = sinkhorn(torch.tensor([[3.0, 1.0], [0.0, 0.0]]), rounds=1)
    assert_allclose(blind, [[0.5, 0.5], [0, 0]], rtol=1e-6)
    least = torch.finfo(torch.float32).smallest_normal / 64
    assert_allclose(sinkhorn(torch.tensor([[1.0, least], [1.0, least]]), rounds=3).sum(dim=1), [1, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        # A = (4 1 2 1; 1 5 1 1; 2 1 4 1; 1 1 1 5), the source is the first patch
        (0, [1, 0, 0, 0]),
        (1, [1, 0, 1 / 3, 0]),  # (4 1 2 1)
        (2, [1, 0, 6 / 10, 0]),  # (22 12 18 12)
        (3, [1, 0, 28 / 36, 0]),  # (148 112 140 112)
    ],
)
def test_the_affinity_is_the_symmetric_part_applied_power_times(power, expected):
    cam = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    refined = refine_cams(cam, ATTENTION, EVERYWHERE, sinkhorn_rounds=0, power=power)
    assert_allclose(refined.flatten(), expected, atol=1e-6)


def test_the_affinity_is_symmetric_in_queries_and_keys():
    cam = torch.tensor([[[1.0, 0.2], [0.0, 0.5]]])
    one = refine_cams(cam, ATTENTION, EVERYWHERE, 0, 2)
    assert_allclose(one, refine_cams(cam, ATTENTION.T.contiguous(), EVERYWHERE, 0, 2), rtol=1e-6)
    # after Sinkhorn too, patch i gives to j what j gives to i
    a = sinkhorn(ATTENTION, 3)
    responses = [spread_of(patch) for patch in range(4)]
    expected = ((a + a.T) / 2).double().numpy()
    assert_allclose(responses, [(row - row.min()) / (np.ptp(row) + 1e-7) for row in expected], atol=1e-6)


def spread_of(patch):
    cam = torch.zeros(4)
    cam[patch] = 1
    return refine_cams(cam.reshape(1, 2, 2), ATTENTION, EVERYWHERE, 3, 1).flatten().double().numpy()


@pytest.mark.parametrize("power", [0, 1, 2, 3])
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_refinement_equals_the_matrix_product_with_the_masked_sources(rounds, power):
    generator = torch.Generator().manual_seed(1)
    cams = torch.rand(3, 3, 4, generator=generator)
    masks = torch.rand(3, 3, 4, generator=generator) > 0.4
    attention = peaked_attention(12)
    refined = refine_cams(cams, attention, masks, rounds, power)
    matrix = np.linalg.matrix_power(oracle.affinity(attention.double().numpy(), rounds), power)
    for one, cam, mask in zip(refined, cams.double().numpy(), masks.numpy(), strict=True):
        assert_allclose(one, oracle.normalised(matrix @ (mask * cam).ravel()).reshape(3, 4), atol=2e-6)


@pytest.mark.parametrize("power", [2, 4])
def test_refinement_with_flat_attention_is_not_lost_in_rounding(power):
    attention = (peaked_attention(48) + 2).softmax(dim=1)  # within a factor of 3
    cam = torch.rand(1, 6, 8, generator=torch.Generator().manual_seed(1))
    refined = refine_cams(cam, attention, torch.ones(1, 6, 8, dtype=torch.bool), 3, power)
    spread = (
        np.linalg.matrix_power(oracle.affinity(attention.double().numpy(), 3), power) @ cam.double().numpy().ravel()
    )
    assert np.ptp(spread) < 1e-3 * spread.mean()
    assert_allclose(refined.flatten(), oracle.normalised(spread), atol=1e-6)


def test_the_mask_selects_the_sources_and_not_the_targets():
    cam = torch.tensor([[[1.0, 0.9], [0.9, 0.9]]])
    first_only = torch.tensor([[[True, False], [False, False]]])
    refined = refine_cams(cam, ATTENTION, first_only, 0, 1)
    # the first column of A, (4 1 2 1): only the first patch is a source, but all patches receive
    assert_allclose(refined.flatten(), [1, 0, 1 / 3, 0], atol=1e-6)


def test_a_class_without_source_patches_has_an_empty_cam():
    cams = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 0.7)])
    masks = torch.stack([torch.ones(2, 2), torch.zeros(2, 2)]).bool()
    assert refine_cams(cams, ATTENTION, masks, 3, 2).tolist() == torch.zeros(2, 2, 2).tolist()


def test_classes_are_refined_independently():
    cams = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([[[True, False], [True, True]]] * 3)
    together = refine_cams(cams, ATTENTION, masks, 3, 2)
    apart = [refine_cams(cams[k : k + 1], ATTENTION, masks[k : k + 1], 3, 2) for k in range(3)]
    assert_allclose(together, torch.cat(apart), atol=1e-6)


def test_refined_cams_lie_in_the_unit_interval():
    cams = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    refined = refine_cams(cams, peaked_attention(12), torch.ones(2, 3, 4, dtype=torch.bool), 3, 2)
    assert refined.dtype == torch.float32
    assert_allclose(refined.amin(dim=(1, 2)), [0, 0])
    assert_allclose(refined.amax(dim=(1, 2)), [1, 1], atol=1e-4)


def test_refinement_mutates_no_argument():
    given = torch.rand(2, 2, 2), ATTENTION.clone(), torch.ones(2, 2, 2, dtype=torch.bool)
    before = [tensor.clone() for tensor in given]
    refine_cams(*given, sinkhorn_rounds=3, power=2)
    sinkhorn(given[1], 3)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


def test_refuses_attention_of_a_different_grid():
    with pytest.raises(ShapeError, match=r"attention must be \(4, 4\), got \(5, 5\)"):
        refine_cams(torch.zeros(1, 2, 2), torch.ones(5, 5), EVERYWHERE, 3, 2)


def test_a_box_is_the_filled_upright_rectangle_of_a_part():
    assert boxes(drawn("......", ".#....", ".##...", "......")) == ["......", ".##...", ".##...", "......"]
    ring = drawn(".......", ".#####.", ".#...#.", ".#...#.", ".#####.", ".......")
    assert boxes(ring) == [".......", *[".#####."] * 4, "......."]


def test_parts_that_touch_at_a_corner_share_a_box():
    assert boxes(drawn("#...", ".#..", "....", "....")) == ["##..", "##..", "....", "...."]
    assert boxes(drawn(".#..", "#...", "....", "....")) == ["##..", "##..", "....", "...."]


def test_separate_parts_have_separate_boxes():
    assert boxes(drawn("#.#..", "#.#..", ".....", "##...", ".....")) == ["#.#..", "#.#..", ".....", "##...", "....."]


def test_a_box_at_the_right_or_bottom_border_loses_its_last_column_or_row():
    assert boxes(drawn("....", "..##", "..##", "....")) == ["....", "..#.", "..#.", "...."]
    assert boxes(drawn("....", "....", ".##.", ".##.")) == ["....", "....", ".##.", "...."]
    assert boxes(drawn("####", "####", "####")) == ["###.", "###.", "...."]


def test_a_box_inside_the_last_row_or_column_is_empty():
    assert boxes(drawn("....", "....", ".#..")) == ["....", "....", "...."]
    assert boxes(drawn("...#", "...#", "....")) == ["....", "....", "...."]
    assert boxes(drawn("##.#")) == ["...."]


def test_an_empty_cam_has_no_box():
    assert boxes(drawn("...", "...")) == ["...", "..."]
    assert boxes(drawn("...", "..."), threshold=0) == ["...", "..."]
    assert boxes(np.full((2, 3), 0.0039)) == ["...", "..."]  # 0.0039 * 255 is truncated to 0


@pytest.mark.parametrize(
    ("level", "threshold", "inside"),
    [
        (101, 0.4, False),  # int(0.4 * 254) = 101; the comparison is strict
        (102, 0.4, True),
        (102, 0.405, False),  # int(0.405 * 254) = int(102.87)
        (103, 0.405, True),
        (177, 0.7, False),  # int(0.7 * 254) = int(177.8)
        (178, 0.7, True),
        (0, 0, False),
        (1, 0, True),
    ],
)
def test_a_cell_is_in_the_box_if_above_the_truncated_share_of_the_peak(level, threshold, inside):
    cam = np.zeros((4, 4))
    cam[0, 0] = 254.5 / 255  # truncated to 254
    cam[2, 2] = (level + 0.5) / 255
    assert box_mask(cam, threshold)[2, 2] == inside
    assert box_mask(cam, threshold)[0, 0]


def test_the_threshold_is_relative_to_the_peak():
    assert boxes(0.5 * drawn("#...", "....", "..+.", "....")) == ["#...", "....", "..#.", "...."]
    assert boxes(0.5 * drawn("#...", "....", "..+.", "...."), threshold=0.6) == ["#...", "....", "....", "...."]


@pytest.mark.parametrize("threshold", [0, 0.4, 0.7, 0.95])
def test_boxes_equal_those_of_the_oracle(threshold):
    for cam in np.random.default_rng(0).random((60, 7, 9)).astype(np.float32) ** 3:
        assert box_mask(cam, threshold).tolist() == oracle.box_mask(cam, threshold).astype(bool).tolist()


def test_box_mask_does_not_mutate_the_cam():
    cam = np.random.default_rng(0).random((5, 6))
    before = cam.copy()
    mask = box_mask(cam, 0.4)
    assert mask.dtype == bool
    assert np.array_equal(cam, before)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 2, 2], [1, 2, 2], [3, 1, 2]])
def test_a_batch_of_photos_equals_its_photos_one_by_one(counts, power):
    weights = torch.stack([peaked_attention(12, seed) for seed in range(3)])
    sources = np.random.default_rng(0).random((sum(counts), 3, 4), np.float32)
    together = Attention(weights, counts).spread(sources, 3, power)
    parts = zip(weights, np.split(sources, np.cumsum(counts)[:-1]), counts, strict=True)
    alone = [Attention(own[None], [count]).spread(maps, 3, power) for own, maps, count in parts]
    assert_allclose(together, torch.cat(alone), atol=1e-6)


def test_the_balanced_attention_is_computed_once_per_number_of_rounds(monkeypatch):
    calls = []
    monkeypatch.setattr("clipes_core.affinity.sinkhorn", lambda weights, rounds: calls.append(rounds) or weights)
    attention, sources = Attention(torch.rand(1, 4, 4), [2]), np.ones((2, 2, 2), np.float32)
    for rounds in (3, 3, 0, 3):
        attention.spread(sources, rounds, 2)
    assert calls == [3, 0]


def test_mhsa_equals_caa_if_the_box_holds_all_nonzero_patches():
    cams = np.zeros((1, 4, 4), np.float32)
    cams[0, 1:3, 1:3] = 1  # all nonzero cells lie in the box
    attention = Attention(torch.rand(1, 16, 16), [1])
    photos_rgb = [np.zeros((32, 32, 3), np.uint8)]
    inside, everywhere = (refine(cams, attention, photos_rgb, CamConfig()) for refine in (caa, mhsa))
    assert torch.equal(inside, everywhere)
    cams[0, 3, 3] = 0.1  # below the threshold, outside the box
    inside, everywhere = (refine(cams, attention, photos_rgb, CamConfig()) for refine in (caa, mhsa))
    assert not torch.equal(inside, everywhere)
