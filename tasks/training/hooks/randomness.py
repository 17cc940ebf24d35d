"""Random state that depends on the seed and the iteration alone, so that a resumed training draws the same numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner


def seed_all(*numbers: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) from the given numbers."""
    words = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed the generators that transforms use within the block, and restore their state afterwards.

    Only torch's CPU generator is seeded, because the model draws from the generators of the devices.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(int(seeds[2]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class RandomnessHook(Hook):
    """Seeds the random numbers that the network draws in an iteration, as for dropout; photos have their own seeds.

    Args:
        seed: seed of the training.
        rank: rank of this process; every process draws different numbers.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank = seed, rank

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all generators for this iteration, independently of all earlier draws."""
        seed_all(self._seed, batch_idx, self._rank)
