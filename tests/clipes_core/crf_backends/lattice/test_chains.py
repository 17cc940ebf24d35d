from itertools import pairwise

import numpy as np
import pytest
from support.crf_cases import random_image

from clipes_core.crf_backends.lattice.chains import find_chains
from clipes_core.crf_backends.lattice.geometry import axis_moves, key_strides, scale_factors
from clipes_core.crf_backends.lattice.simplices import colour_simplices
from clipes_core.crf_backends.lattice.vertices import number_vertices


@pytest.fixture(params=["noise", "ramp", "constant"])
def lattice(request):
    """Return numbers, keys, and the chains per axis of a small image."""
    image = random_image(23, 31).transpose(1, 2, 0).copy()
    if request.param == "ramp":
        image[:] = np.arange(31, dtype=np.uint8)[:, None, None] * 3
    if request.param == "constant":
        image[:] = 77
    width, _, height = image.shape
    keys, orders = np.empty((width, height), np.int64), np.empty((width, height), np.int32)
    weights = np.empty((width, 6, height), np.float32)
    strides = key_strides(tuple(np.float32(value) for value in (10, 10, 30, 30, 30)))
    colour_simplices(image, np.float32(3), np.float32(9), scale_factors(5), strides, keys, orders, weights)
    moves = axis_moves(strides)
    numbers, vertex_keys, table = number_vertices(keys, orders, moves)
    return keys, orders, moves, numbers, vertex_keys, find_chains(numbers, orders, vertex_keys, table, moves)


def test_each_key_has_one_number(lattice):
    first_keys, orders, moves, numbers, keys, _ = lattice
    expected = first_keys
    for k in range(6):
        assert np.array_equal(keys[numbers[:, k]], expected)
        expected = expected + moves[(orders >> (3 * k)) & 7]
    assert np.array_equal(expected, first_keys)  # the last move leads back
    assert len(np.unique(keys[1:])) == len(keys) - 1
    # 23 x 31 is not a multiple of 4, so the vertices around a pixel without features, from key 0 on, exist as well
    around_origin = np.cumsum([0, *moves[:0:-1]])
    used = np.unique(keys[numbers])
    assert np.array_equal(np.union1d(used, around_origin), np.sort(keys[1:]))
    assert numbers.min() == 1


def test_chains_hold_exactly_the_neighbours(lattice):
    *_, moves, _, keys, chains = lattice
    place = {int(key): number for number, key in enumerate(keys) if number}
    expected = {
        (number, place[int(key + move)])
        for number, key in enumerate(keys)
        for move in moves
        if number and int(key + move) in place
    }
    found, start = set(), 0
    for length, count in chains.runs.tolist():
        for chain in chains.vertices[start : start + length * count].reshape(count, length).tolist():
            found |= set(pairwise(chain))
        start += length * count
    assert start == len(chains.vertices)
    assert found == expected


def test_the_table_grows_with_the_vertices():
    """A photo of noise has more vertices than the first table can hold."""
    image = random_image(120, 160).transpose(1, 2, 0).copy()
    keys, orders = np.empty((160, 120), np.int64), np.empty((160, 120), np.int32)
    strides = key_strides(tuple(np.float32(value) for value in (50, 50, 255, 255, 255)))
    weights = np.empty((160, 6, 120), np.float32)
    colour_simplices(image, np.float32(3), np.float32(1), scale_factors(5), strides, keys, orders, weights)
    numbers, vertex_keys, table = number_vertices(keys, orders, axis_moves(strides))
    assert len(vertex_keys) > 4 * keys.size
    assert len(table) >= 2 * len(vertex_keys)
    assert np.array_equal(vertex_keys[numbers[:, 0]], keys)
