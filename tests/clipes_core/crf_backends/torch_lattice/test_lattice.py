import pytest
import torch

from clipes_core.crf_backends.torch_lattice.lattice import LONGEST_PART, build_lattice

MOVES = torch.tensor([1, -1])  # d = 1: the vertices are the integers, and their neighbours the next integers
NO_KEYS = torch.empty(0, dtype=torch.int64)


def on_a_line(keys, weights, other_keys=NO_KEYS, weight=1.0):
    return build_lattice(torch.tensor(keys), torch.tensor(weights), other_keys, MOVES, weight)


def test_vertices_are_numbered_in_the_order_of_their_keys_and_linked():
    lattice = on_a_line([[7, 6], [3, 2], [2, 3]], [[1.0, 0.0]] * 3)
    assert lattice.numbers.tolist() == [[3, 1, 0], [2, 0, 1]]
    none = 4
    assert lattice.after.tolist() == [[1, none, 3, none, none], [none, 0, none, 2, none]]
    assert lattice.before.tolist() == [[none, 0, none, 2, none], [1, none, 3, none, none]]


def test_a_filter_normalises_and_scales():
    """Two pixels at neighbouring vertices, by hand."""
    lattice = on_a_line([[0, 1], [1, 0]], [[1.0, 0.0], [1.0, 0.0]], weight=2.0)
    # the blur along both axes gives 1 + 1/4 at the own vertex and 1/2 + 1/2 at the other, so each norm is 2.25
    expected = torch.tensor([1.25 * 3 + 5, 3 + 1.25 * 5]) / 2.25 * 2
    assert lattice.filter(torch.tensor([3.0, 5.0])).tolist() == pytest.approx(expected.tolist())


def test_a_vertex_without_pixels_passes_values_on():
    keys, weights = [[0, -1], [2, 3]], [[1.0, 0.0], [1.0, 0.0]]
    apart, linked = on_a_line(keys, weights), on_a_line(keys, weights, torch.tensor([1]))
    one = torch.tensor([1.0, 0.0])
    assert apart.filter(one)[1] == 0
    assert linked.filter(one)[1] > 0


@pytest.mark.parametrize("pixels", [1, LONGEST_PART, LONGEST_PART + 1, 5 * LONGEST_PART + 3])
def test_a_vertex_adds_up_any_number_of_pixels(pixels):
    lattice = on_a_line([[9, 8]] * pixels, [[1.0, 0.0]] * pixels)
    assert lattice.part_lengths.max() <= LONGEST_PART
    channels = torch.arange(2.0 * pixels).reshape(pixels, 2)
    # all pixels share one vertex, so the filter is a mean
    mean = channels.mean(dim=0).expand(pixels, 2).flatten()
    assert lattice.filter(channels).flatten().tolist() == pytest.approx(mean.tolist(), rel=1e-5)


def test_channels_of_any_shape_are_filtered_independently():
    lattice = on_a_line([[0, 1], [1, 2], [2, 1]], [[0.7, 0.3]] * 3)
    channels = torch.rand(3, 2, 5, generator=torch.Generator().manual_seed(0))
    alone = [lattice.filter(channel.contiguous()) for channel in channels.reshape(3, 10).unbind(1)]
    assert torch.equal(lattice.filter(channels), torch.stack(alone, dim=1).view_as(channels))
