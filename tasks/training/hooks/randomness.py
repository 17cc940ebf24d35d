"""Seed random generators anew for each iteration and sample, so that a resumed training run draws the same numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner


def seed_all(*numbers: int) -> None:
    """Seed the global random generators of Python, NumPy and torch (on all devices) from the given numbers."""
    words = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed the random generators of transforms from the given numbers, and restore their states after the block.

    These are the global generators of Python and NumPy, and torch's generator for the CPU. torch's generators for GPUs
    stay as they are, because the network uses them and transforms do not.
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
    """Seeds all random generators before each iteration, for random numbers in the network, such as those of dropout.

    The data set seeds the transforms of the photos separately.

    Args:
        seed: seed of the training.
        rank: rank of this process; because of it, every process draws different numbers.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank = seed, rank

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all random generators from the training's seed, the iteration and the rank."""
        seed_all(self._seed, batch_idx, self._rank)
