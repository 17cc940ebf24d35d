"""Measure how long a training process computes, and how long it waits for photos."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner


class Clock:
    """The computing time and the waiting time of one training process since it started or resumed the training.

    The method `lap` returns the time since its previous call. This time is called a lap.

    Attributes:
        iterations: number of iterations done since this process started or resumed the training.
        seconds: time spent computing these iterations [s].
        waited: time spent waiting for the photos of these iterations [s].
        first: the part of `seconds` and `waited` that belongs to the first of these iterations [s]. It includes the
            start of the processes that load the photos.
        validations: duration of each validation [s].
        writes: duration of each time that checkpoints were written [s].
    """

    def __init__(self) -> None:
        self.iterations, self.seconds, self.waited, self.first = 0, 0.0, 0.0, 0.0
        self.validations, self.writes = list[float](), list[float]()
        self._last_lap = perf_counter()

    @property
    def iterations_per_second(self) -> float | None:
        """The number of iterations per second, without the first iteration if there are more; None without any."""
        spent = self.seconds + self.waited
        if self.iterations > 1:
            return (self.iterations - 1) / (spent - self.first)
        return self.iterations / spent if self.iterations else None

    @contextmanager
    def paused(self, durations: list[float] | None = None) -> Iterator[None]:
        """Stop the clock during the block, so that the current lap does not include the duration of the block.

        Args:
            durations: list to which the duration of the block is appended [s], such as `validations`.
        """
        began = perf_counter()
        try:
            yield
        finally:
            gone = perf_counter() - began
            self._last_lap += gone
            if durations is not None:
                durations.append(gone)

    def lap(self) -> float:
        """Return the time since the previous call [s], without pauses."""
        now = perf_counter()
        lap, self._last_lap = now - self._last_lap, now
        return lap


class ClockHook(Hook):
    """Measures how long each iteration waits for its photos, and how long the iteration computes.

    Args:
        clock: clock to which the durations are added.
    """

    priority = "VERY_HIGH"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def before_train_epoch(self, runner: Runner) -> None:
        """Start measuring the wait for the first photos."""
        self._clock.lap()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Add the time since the previous iteration to the waiting time."""
        self._clock.waited += self._clock.lap()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count the iteration, and add the time since the photos arrived to the computing time."""
        self._clock.seconds += self._clock.lap()
        self._clock.iterations += 1
        if self._clock.iterations == 1:
            self._clock.first = self._clock.seconds + self._clock.waited
