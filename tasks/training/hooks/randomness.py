"""Random state that follows from seed and step alone, so that a training that is gone on with changes nothing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner


def seed_all(*numbers: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, the devices' too, from some numbers."""
    words = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


@contextmanager
def random_state(*entropy: int) -> Iterator[None]:
    """The generators that transforms draw from, seeded for the block; afterwards they are where they were.

    Of torch it is the CPU's alone: the device's belongs to the model.
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
    """Seeds what the network draws in a step, such as dropout; its photos have seeds of their own.

    Args:
        seed: of the training.
        rank: of this process; each draws other numbers.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank = seed, rank

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Whatever was drawn before is of no consequence."""
        seed_all(self._seed, batch_idx, self._rank)
