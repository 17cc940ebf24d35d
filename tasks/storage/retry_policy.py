"""Retry calls that fail for a temporary cause, such as a store that does not answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import Retrying, before_sleep_log, retry_if_exception, stop_after_attempt

from clipes_core.errors import TransientError

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """Rules for retrying a call that fails for a transient cause.

    Attributes:
        attempts: maximum number of attempts, including the first.
        first_wait_s: waiting time after the first attempt [s]. Each further waiting time is twice the previous one, but
            at most `longest_wait_s`.
        longest_wait_s: longest waiting time [s].
    """

    attempts: int
    first_wait_s: float
    longest_wait_s: float

    @property
    def waits_s(self) -> list[float]:
        """The waiting times between the attempts [s]."""
        return [self._wait_s(attempt) for attempt in range(1, self.attempts)]

    def call(self, function: Callable[..., Result], *args: object) -> Result:
        """Call a function until a call succeeds or no attempt is left. Log the error of each attempt that is retried.

        Raises:
            Exception: the first error that is not transient, or the error of the last attempt.
        """
        attempts = Retrying(
            retry=retry_if_exception(is_transient),
            stop=stop_after_attempt(self.attempts),
            wait=lambda state: self._wait_s(state.attempt_number),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        return attempts(function, *args)

    def _wait_s(self, attempt: int) -> float:
        return min(self.first_wait_s * 2 ** (attempt - 1), self.longest_wait_s)


def is_transient(failure: object) -> bool:
    """Return whether a failure has a temporary cause, so that the next attempt may succeed."""
    return isinstance(failure, TransientError | ConnectionError | TimeoutError)


def shard_policy(retries: int) -> RetryPolicy:
    """Return the policy for retrying a shard. The files at the end of a run are written with the same policy.

    Args:
        retries: value of `execution.retries`.
    """
    return RetryPolicy(1 + retries, first_wait_s=2, longest_wait_s=120)


ONE_MINUTE = RetryPolicy(attempts=8, first_wait_s=0.5, longest_wait_s=30.0)  # its waits add up to a minute
