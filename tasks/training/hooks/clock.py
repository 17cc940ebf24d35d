"""The speed of a training, and the time it waits for photos."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner


class Clock:
    """Times of one training process since this attempt began.

    Attributes:
        iterations: number of iterations done.
        seconds: time spent computing the iterations [s].
        waited: time spent waiting for the iterations' photos [s].
    """

    def __init__(self) -> None:
        self.iterations, self.seconds, self.waited = 0, 0.0, 0.0
        self._last_lap = perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block from the current lap."""
        began = perf_counter()
        try:
            yield
        finally:
            self._last_lap += perf_counter() - began

    def lap(self) -> float:
        """Start a new lap, and return the duration of the previous one [s]."""
        now = perf_counter()
        lap, self._last_lap = now - self._last_lap, now
        return lap


class ClockHook(Hook):
    """Times the iterations and the waits between them.

    Args:
        clock: object that receives the times.
    """

    priority = "VERY_HIGH"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def before_train_epoch(self, runner: Runner) -> None:
        """Start a lap, which measures the wait for the first photos."""
        self._clock.lap()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Add the time since the previous iteration to the waits."""
        self._clock.waited += self._clock.lap()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count an iteration, and add its duration."""
        self._clock.seconds += self._clock.lap()
        self._clock.iterations += 1
