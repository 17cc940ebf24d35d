"""Retry calls that fail for a temporary cause, such as a store that does not answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, before_sleep_log, retry_if_exception

from clipes_core.errors import TransientError

Result = TypeVar("Result")

LONGEST_ASKED_WAIT_S = 300.0  # that a server may ask for; a longer wait would look as if clipes hung

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """Rules for retrying a call that fails for a transient cause.

    Attributes:
        attempts: maximum number of attempts, including the first.
        first_wait_s: waiting time after the first attempt [s]. Each further waiting time is twice the previous one, but
            at most `longest_wait_s`.
        longest_wait_s: longest waiting time [s], unless the server asks to wait longer.
        log_level: level at which the error of an attempt that is retried is logged.
    """

    attempts: int
    first_wait_s: float
    longest_wait_s: float
    log_level: int = logging.WARNING

    @property
    def waits_s(self) -> list[float]:
        """The waiting times between the attempts [s]."""
        return [self._wait_s(attempt) for attempt in range(1, self.attempts)]

    def call(self, function: Callable[..., Result], *args: object) -> Result:
        """Call a function until a call succeeds or no attempt is left. Log the error of each attempt that is retried.

        The next attempt begins no earlier than the error asks for (`TransientError.retry_after_s`).

        Raises:
            Exception: the first error that is not transient or asks to wait longer than LONGEST_ASKED_WAIT_S, alone or
                together with those before; or the error of the last attempt.
        """
        attempts = Retrying(
            retry=retry_if_exception(
                lambda error: is_transient(error) and _asked_wait_s(error) <= LONGEST_ASKED_WAIT_S
            ),
            stop=self._gives_up,
            wait=lambda state: max(self._wait_s(state.attempt_number), _asked_wait_s(_error_of(state))),
            before_sleep=before_sleep_log(logger, self.log_level),
            reraise=True,
        )
        return attempts(function, *args)

    def _gives_up(self, state: RetryCallState) -> bool:
        """Return whether no attempt is left, or the waits that the errors have asked for would become too long."""
        if state.attempt_number >= self.attempts:
            return True
        return state.idle_for + _asked_wait_s(_error_of(state)) > LONGEST_ASKED_WAIT_S + sum(self.waits_s)

    def _wait_s(self, attempt: int) -> float:
        return min(self.first_wait_s * 2 ** (attempt - 1), self.longest_wait_s)


def is_transient(failure: object) -> bool:
    """Return whether a failure has a temporary cause, so that the next attempt may succeed."""
    return isinstance(failure, TransientError | ConnectionError | TimeoutError)


def _error_of(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _asked_wait_s(failure: object) -> float:
    return failure.retry_after_s if isinstance(failure, TransientError) else 0.0


def shard_policy(retries: int) -> RetryPolicy:
    """Return the policy for retrying a shard. The files at the end of a run are written with the same policy.

    Args:
        retries: value of `execution.retries`.
    """
    return RetryPolicy(1 + retries, first_wait_s=2, longest_wait_s=120)


ONE_MINUTE = RetryPolicy(attempts=8, first_wait_s=0.5, longest_wait_s=30.0)  # its waits add up to a minute
