"""Seed the random generators for each iteration and sample, so that an interruption does not change the training."""

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
    """Seed the random generators that transforms use, and restore their states after the block.

    These generators are the global generators of Python and NumPy, and torch's CPU generator. torch's GPU generators
    are left unchanged, because transforms do not use them.

    Args:
        entropy: numbers from which the seeds are computed.
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
    """Seeds all global random generators before each iteration, so that random layers such as dropout are repeatable.

    Args:
        seed: seed of the training.
        rank: rank of this process. Processes with different ranks draw different random numbers.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank = seed, rank

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed all global random generators from three numbers: the training's seed, the iteration and the rank."""
        seed_all(self._seed, batch_idx, self._rank)
