import numpy as np
import pytest

from clipes_core.demo.shapes import SHAPES, Paint, box, ellipse, polygon

MIDDLE_REACH = 1.6  # the scenes rely on this bound to measure areas


def parts_of(name, seed):
    return SHAPES[name](np.random.default_rng(seed))


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_varies_and_stays_within_its_reach_at_every_rotation(name):
    first, second = (np.concatenate([part.outline for part in parts_of(name, seed)]) for seed in (0, 1))
    assert first.shape != second.shape or not np.allclose(first, second)
    for seed in range(50):
        for part in parts_of(name, seed):
            assert np.linalg.norm(part.outline, axis=1).max() < MIDDLE_REACH


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_a_part_in_its_own_colour(name):
    assert Paint.BODY in {part.paint for part in parts_of(name, 0)}


def test_cars_and_buses_share_their_wheels_and_windows():
    for paint in (Paint.DARK, Paint.GLASS):
        assert all(paint in {part.paint for part in parts_of(name, 0)} for name in ("car", "bus"))


def test_corners_are_x_and_y():
    assert polygon(Paint.BODY, (0, 1), (2, 3)).outline.tolist() == [[0, 1], [2, 3]]
    assert box(Paint.BODY, -1, -2, 3, 4).outline.tolist() == [[-1, -2], [3, -2], [3, 4], [-1, 4]]
    round_one = ellipse(Paint.DARK, 1, 2, 3, 0.5).outline
    assert round_one[0].tolist() == [4, 2]
    np.testing.assert_allclose((((round_one - [1, 2]) / [3, 0.5]) ** 2).sum(axis=1), 1)
