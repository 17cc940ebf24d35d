import random

import numpy as np
import pytest
import torch

from clipes.tasks.training.hooks.randomness import RandomnessHook, seed_all


@pytest.fixture(autouse=True)
def restore_random_state():
    """Restore the state of all generators after each test."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(of_python)
    np.random.set_state(of_numpy)


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()


def drawn_in(seed, step, rank=0):
    RandomnessHook(seed, rank).before_train_iter(None, step)
    return drawn()


def test_all_generators_are_seeded_by_seed_step_and_rank():
    seed_all(3, 7)
    first = drawn()
    drawn()
    seed_all(3, 7)
    assert drawn() == first
    assert len(set(first)) == 3


def test_an_iteration_draws_the_same_numbers_whatever_was_drawn_before():
    first = drawn_in(0, 5)
    drawn_in(0, 6)
    assert drawn_in(0, 5) == first


def test_other_seeds_iterations_and_ranks_draw_different_numbers():
    draws = [drawn_in(*numbers) for numbers in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))]
    for one in zip(*draws, strict=True):
        assert len(set(one)) == len(draws)
