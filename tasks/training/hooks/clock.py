"""How fast a training is, and how long it waits for photos."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner


class Clock:
    """Times of one process of a training.

    Attributes:
        steps: since it began, in this attempt.
        seconds: that they took.
        waited: for the photos between them [s].
    """

    def __init__(self) -> None:
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0
        self._since = perf_counter()

    @contextmanager
    def off(self) -> Iterator[None]:
        """What the block does is no part of the training."""
        began = perf_counter()
        try:
            yield
        finally:
            self._since += perf_counter() - began

    def lap(self) -> float:
        """Seconds since the last one."""
        now = perf_counter()
        lap, self._since = now - self._since, now
        return lap


class ClockHook(Hook):
    """Times the steps and the waits between them.

    Args:
        clock: gets the times.
    """

    priority = "VERY_HIGH"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def before_train_epoch(self, runner: Runner) -> None:
        """The first photos are waited for."""
        self._clock.lap()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The photos are there."""
        self._clock.waited += self._clock.lap()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """A step is done."""
        self._clock.seconds += self._clock.lap()
        self._clock.steps += 1
