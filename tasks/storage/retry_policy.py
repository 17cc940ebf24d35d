"""Retry calls that fail for a temporary cause, such as a store that does not answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_exponential

from clipes_core.errors import TransientError

FIRST_WAIT_S, LONGEST_WAIT_S = 2, 120  # between attempts to make a shard, or to write a run's outcome

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """Rules for retrying a call that fails with a TransientError.

    Attributes:
        attempts: maximum number of attempts, including the first.
        first_wait_s: waiting time after the first attempt [s]; each further wait is twice as long as the one before.
        longest_wait_s: longest waiting time [s].
    """

    attempts: int
    first_wait_s: float
    longest_wait_s: float

    def call(self, function: Callable[..., Result], *args: object) -> Result:
        """Call a function until it succeeds or no attempt is left; log each wait with its cause.

        Raises:
            TransientError: the last attempt raised it. Any other error of the function is raised without a retry.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        return attempts(function, *args)


ONE_MINUTE = RetryPolicy(attempts=8, first_wait_s=0.5, longest_wait_s=30.0)  # its waits add up to a minute
