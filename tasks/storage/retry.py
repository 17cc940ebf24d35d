"""Repeated calls of what a store fails for a cause that may pass."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_exponential

from clipes_core.errors import TransientError

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is attempted while it fails with a TransientError, and how long to wait in between.

    Attributes:
        attempts: in all.
        first_wait_s: after the first attempt [s]; each further wait is twice as long.
        last_wait_s: no wait is longer [s].
    """

    attempts: int
    first_wait_s: float
    last_wait_s: float

    def call(self, function: Callable[..., Result], *args: object) -> Result:
        """Call a function until it succeeds or has had all attempts; each wait is logged with its cause.

        Raises:
            TransientError: that of the last attempt; any other error passes at once.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self.attempts),
            wait=wait_exponential(multiplier=self.first_wait_s, max=self.last_wait_s),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        return attempts(function, *args)


ONE_MINUTE = RetryPolicy(attempts=8, first_wait_s=0.5, last_wait_s=30.0)  # the sum of its waits
